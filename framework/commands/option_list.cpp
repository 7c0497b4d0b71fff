#include "framework/commands/option_list.h"

#include <unistd.h>

#include <algorithm>
#include <vector>

#include "casdm/text.h"
#include "framework/config/document.h"
#include "framework/config/wording.h"
#include "framework/support/machine.h"
#include "framework/support/text_table.h"

namespace casdm {

namespace {

constexpr std::size_t kIndent = 2;
constexpr std::size_t kGap = 2;
constexpr std::size_t kNarrowest = 40;
constexpr std::size_t kWidest = 120;
constexpr std::size_t kPlainWidth = 100;

struct Line {
  std::string name;
  const OptionSpec* option;
};

void collect(const OptionSchema& options, const std::string& prefix, std::vector<Line>& lines) {
  for (const OptionSpec& option : options) {
    lines.push_back({prefix + option.name, &option});
    collect(option.fields, prefix + option.name + ".", lines);
    if (!option.element.empty()) collect(option.element.front().fields, prefix + option.name + ".N.", lines);
  }
}

}  // namespace

std::string option_list(const OptionSchema& options, std::size_t width) {
  std::vector<Line> lines;
  collect(options, "", lines);
  std::size_t name_width = 0;
  for (const Line& line : lines) name_width = std::max(name_width, line.name.size());
  const std::size_t used = kIndent + name_width + kGap;
  const std::size_t left = width > used + kNarrowest ? width - used : kNarrowest;
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, option] : lines) {
    const std::string facts = join(option_facts(*option), "; ");
    rows.push_back({name, text(wrapped(option->doc, left), "\n", wrapped(facts, left))});
  }
  return text_table(rows, kIndent);
}

std::size_t terminal_width() { return std::min(terminal_columns(STDOUT_FILENO, kPlainWidth), kWidest); }

}  // namespace casdm
