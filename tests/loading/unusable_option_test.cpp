#include "framework/loading/unusable_option.h"

#include <doctest/doctest.h>

#include "casdm/error.h"

using namespace casdm;

namespace {

/// What `unusable_options` says of `option` after its name.
std::string unusable_option(const OptionSpec& option) {
  const std::string problem = unusable_options({option}), start = "the option \"x\", which ";
  return problem.starts_with(start) ? problem.substr(start.size()) : problem;
}

OptionSpec named(const std::string& name) {
  OptionSpec option;
  option.name = name;
  return option;
}

}  // namespace

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
  kind.name = "inner";
  outer.fields = {option, kind};
  CHECK(unusable_option(outer) ==
        "holds the option \"inner\", which chooses a component of kind \"../../x\", which this "
        "host does not know");
}

TEST_CASE("options have plain names, each once, and printable texts") {
  for (const char* name : {"a\nb", "a.b", "", "a b", "\xff"}) {
    CHECK(unusable_options({named(name)}).ends_with("which has no plain name: letters, digits, '_' and '-'"));
  }
  CHECK(unusable_options({named("a"), named("b")}).empty());
  CHECK(unusable_options({named("a"), named("b"), named("a")}) == "the option \"a\", which is declared twice");
  CHECK(unusable_options({named("type")}).find("which is the name of the component itself") != std::string::npos);
  OptionSpec table = named("table"), coloured = named("x");
  table.fields = {named("type"), named("a"), named("a")};
  CHECK(unusable_options({table}) == "the option \"table\", which holds the option \"a\", which is declared twice");
  coloured.doc = "\x1b[31mred";
  CHECK(unusable_options({coloured}) == "the option \"x\", which has a text with control characters");
  CHECK_THROWS_WITH_AS(OptionSpec().choices(std::vector<std::string>()), doctest::Contains("no choices"), Error);
}
