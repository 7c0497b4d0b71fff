#include "framework/loading/unusable_option.h"

#include "casdm/text.h"
#include "framework/config/option_pattern.h"
#include "framework/loading/kinds.h"

namespace casdm {

namespace {

constexpr std::size_t kLongestPattern = 200;
constexpr std::size_t kLongestArray = 1024;

}  // namespace

std::string unusable_option(const OptionSpec& option) {
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
  for (const OptionSchema* inside : {&option.element, &option.fields}) {
    for (const OptionSpec& inner : *inside) {
      if (std::string problem = unusable_option(inner); !problem.empty()) return problem;
    }
  }
  return "";
}

}  // namespace casdm
