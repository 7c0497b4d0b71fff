#include <doctest/doctest.h>

#include <limits>

#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/value.h"

using namespace casdm;

TEST_CASE("a value keeps its type and refuses others with the place it came from") {
  Value value(3);
  value.set_location({"a.toml", 4, 7, "train.batch_size"});
  CHECK(value.as_integer() == 3);
  CHECK(value.as_number() == 3.0);
  CHECK_THROWS_WITH_AS(value.as_string(), "a.toml:4:7: train.batch_size: expected a string, got integer", ConfigError);
}

TEST_CASE("a table keeps the order of its keys") {
  Value table;
  table.set("b", 1);
  table.set("a", 2);
  table.set("b", 3);
  CHECK(to_json(table) == R"({"b":3,"a":2})");
  CHECK(table.find("c") == nullptr);
}

TEST_CASE("JSON reads back to the same value") {
  const std::string json = R"({"a":[1,2.5,"x",true,null],"b":{"c":-7}})";
  CHECK(to_json(from_json(json)) == json);
  CHECK_THROWS_AS(from_json("{\"a\": "), Error);
  CHECK_THROWS_AS(from_json("1 2"), Error);
  CHECK_THROWS_AS(from_json(""), Error);
  CHECK(from_json(R"({"a":1,"b":{"a":2},"a":3})") == from_json(R"({"a":3,"b":{"a":2}})"));
}

TEST_CASE("JSON that a value cannot hold is refused") {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  CHECK(to_json(from_json(nested(64))) == nested(64));
  CHECK_THROWS_AS(from_json(nested(65)), Error);
  CHECK_THROWS_AS(from_json(std::string(1000000, '[')), Error);
  CHECK(from_json("-9223372036854775808") == Value(std::numeric_limits<std::int64_t>::min()));
  CHECK(from_json("9223372036854775807") == Value(std::numeric_limits<std::int64_t>::max()));
  CHECK_THROWS_AS(from_json("9223372036854775808"), Error);
}

TEST_CASE("numbers are written in the shortest form that reads back") {
  CHECK(number(0.1) == "0.1");
  CHECK(number(1) == "1.0");
  CHECK(number(1e-8) == "1e-08");
  CHECK(std::stod(number(1.0 / 3.0)) == 1.0 / 3.0);
}

TEST_CASE("the nearest names come first and far ones not at all") {
  const std::vector<std::string> names = {"channels", "channel_mult", "dropout", "lpips", "st_lpips"};
  CHECK(nearest("chanels", names).front() == "channels");
  CHECK(nearest("lpips", names) == std::vector<std::string>{"lpips", "st_lpips"});
  CHECK(nearest("zzzzzz", names).empty());
}
