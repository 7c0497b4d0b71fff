#include "framework/loading/unusable_option.h"

#include <set>

#include "casdm/text.h"
#include "framework/config/option_pattern.h"
#include "framework/loading/kinds.h"

namespace casdm {

namespace {

constexpr std::size_t kLongestPattern = 200;
constexpr std::size_t kLongestArray = 1024;

std::string unusable_table(const OptionSchema& options);

std::string unusable_option(const OptionSpec& option) {
  if (printable(option.doc) != option.doc) return "has a text with control characters";
  if (!option.component_kind.empty() && find_kind(option.component_kind) == nullptr) {
    return text("chooses a component of kind ", quoted(option.component_kind), ", which this host does not know");
  }
  if (option.length.value_or(0) > kLongestArray) return text("has ", *option.length, " elements");
  if (option.pattern.size() > kLongestPattern) return text("has a pattern of ", option.pattern.size(), " characters");
  try {
    if (!option.pattern.empty()) const std::regex pattern = compile_pattern(option.pattern);
  } catch (const std::regex_error& error) {
    return text("has the pattern ", quoted(option.pattern), ": ", error.what());
  }
  if (option.pattern.find("(?=") != std::string::npos || option.pattern.find("(?!") != std::string::npos) {
    return text("has the pattern ", quoted(option.pattern), ": it looks ahead, which may take time without end");
  }
  for (const OptionSpec& element : option.element) {
    if (std::string problem = unusable_option(element); !problem.empty()) return problem;
  }
  const std::string inside = unusable_table(option.fields);
  return inside.empty() ? "" : "holds " + inside;
}

/// Names are bare keys of TOML.
bool is_key(const std::string& name) {
  constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  return !name.empty() && name.find_first_not_of(allowed) == std::string::npos;
}

std::string unusable_table(const OptionSchema& options) {
  std::set<std::string> names;
  for (const OptionSpec& option : options) {
    const std::string problem = !is_key(option.name)                ? "has no plain name: letters, digits, '_' and '-'"
                                : !names.insert(option.name).second ? "is declared twice"
                                                                    : unusable_option(option);
    if (!problem.empty()) return text("the option ", quoted(option.name), ", which ", problem);
  }
  return "";
}

}  // namespace

std::string unusable_options(const OptionSchema& options) {
  for (const OptionSpec& option : options) {
    if (option.name == "type") return "the option \"type\", which is the name of the component itself";
  }
  return unusable_table(options);
}

}  // namespace casdm
