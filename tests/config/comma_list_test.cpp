#include "framework/support/comma_list.h"

#include <doctest/doctest.h>

#include <set>

using casdm::values_of_list;
using Values = std::vector<std::string>;

TEST_CASE("a list is divided at its commas") {
  CHECK(values_of_list("ema") == Values{"ema"});
  CHECK(values_of_list("10,50") == Values{"10", "50"});
  CHECK(values_of_list(",a,,") == Values{"", "a", "", ""});
  CHECK(values_of_list("") == Values{""});
}

TEST_CASE("a path in a list keeps its commas, and the longest path counts") {
  const std::set<std::string> files = {"a,b", "b", "c,", "d,e,f", "d,e"};
  const auto values = [&](const std::string& list) {
    return values_of_list(list, [&](const std::string& value) { return files.contains(value); });
  };
  CHECK(values("a,b") == Values{"a,b"});
  CHECK(values("ema,a,b,raw") == Values{"ema", "a,b", "raw"});
  CHECK(values("d,e,f,d,e,g") == Values{"d,e,f", "d,e", "g"});
  CHECK(values("c,") == Values{"c,"});
  CHECK(values("x,y") == Values{"x", "y"});
}
