#include "framework/loading/unusable_option.h"

#include <regex>

#include "casdm/text.h"
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
    if (!option.pattern.empty()) const std::regex pattern(option.pattern);
  } catch (const std::regex_error& error) {
    return text("has the pattern ", quoted(option.pattern), ": ", error.what());
  }
  for (const OptionSchema* inside : {&option.element, &option.fields}) {
    for (const OptionSpec& inner : *inside) {
      if (std::string problem = unusable_option(inner); !problem.empty()) return problem;
    }
  }
  return "";
}

}  // namespace casdm
