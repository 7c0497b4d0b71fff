#include "framework/loading/unusable_option.h"

#include <doctest/doctest.h>

using namespace casdm;

TEST_CASE("an option of a listed library that would cost more than it says makes the library unusable") {
  OptionSpec option;
  option.name = "x";
  option.pattern = "[0-9]+(,[0-9]+)*";
  option.length = 3;
  option.component_kind = "backbone";
  CHECK(unusable_option(option).empty());
  OptionSpec kind = option, length = option, pattern = option, invalid = option, back = option, ahead = option,
             outer = option;
  kind.component_kind = "../../x";
  length.length = static_cast<std::size_t>(-1);
  pattern.pattern = std::string(201, '(');
  invalid.pattern = "(";
  back.pattern = "(a)\\1";
  ahead.pattern = "((?=(a?){5000})a)*";
  CHECK(unusable_option(kind).find("of kind \"../../x\", which this host does not know") != std::string::npos);
  CHECK(unusable_option(length).find("elements") != std::string::npos);
  CHECK(unusable_option(pattern) == "has a pattern of 201 characters");
  CHECK(unusable_option(invalid).find("has the pattern \"(\": ") == 0);
  CHECK(unusable_option(back).find("has the pattern \"(a)\\\\1\": ") == 0);
  CHECK(unusable_option(ahead).find("has the pattern \"((?=(a?){5000})a)*\": it looks ahead") == 0);
  outer.fields = {option, kind};
  CHECK(unusable_option(outer) == unusable_option(kind));
}
