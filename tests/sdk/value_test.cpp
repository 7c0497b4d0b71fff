#include <doctest/doctest.h>

#include <cmath>
#include <ctime>
#include <iomanip>
#include <limits>

#include "casdm/error.h"
#include "casdm/text.h"
#include "casdm/value.h"
#include "framework/support/sanitizers.h"

using namespace casdm;

TEST_CASE("a value keeps its type and refuses others with its location") {
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
  CHECK_THROWS_WITH_AS(from_json("x"), doctest::Contains("not JSON: \"parse error at line 1, column 1: "), Error);
  CHECK_THROWS_AS(from_json("1 2"), Error);
  CHECK_THROWS_AS(from_json(""), Error);
  CHECK(from_json(R"({"a":1,"b":{"a":2},"a":3})") == from_json(R"({"a":3,"b":{"a":2}})"));
}

TEST_CASE("JSON that a value cannot represent is refused") {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  CHECK(to_json(from_json(nested(64))) == nested(64));
  CHECK_THROWS_AS(from_json(nested(65)), Error);
  CHECK_THROWS_AS(from_json(std::string(1000000, '[')), Error);
  CHECK(from_json("-9223372036854775808") == Value(std::numeric_limits<std::int64_t>::min()));
  CHECK(from_json("9223372036854775807") == Value(std::numeric_limits<std::int64_t>::max()));
  CHECK_THROWS_AS(from_json("9223372036854775808"), Error);
}

TEST_CASE("JSON keeps infinite and extreme numbers") {
  const double infinity = std::numeric_limits<double>::infinity();
  const Value extremes(Value::Array{infinity, -infinity, 5e-324, 1.7976931348623157e308, -0.0, 0.1});
  CHECK(from_json(to_json(extremes)) == extremes);
  CHECK(to_json(Value(infinity)) == R"({"$numberDouble":"Infinity"})");
  CHECK(std::signbit(from_json(to_json(Value(-0.0))).as_number()));
  CHECK(std::isnan(from_json(to_json(Value(std::nan("")))).as_number()));
  CHECK(to_json(extremes).find("null") == std::string::npos);
  CHECK_THROWS_AS(from_json("1e400"), Error);
  CHECK(from_json(R"({"$numberDouble":"x"})").is_table());
  CHECK(from_json(R"({"$numberDouble":"NaN","more":1})").is_table());
}

TEST_CASE("JSON with very many keys takes linear time") {
  std::string json = "{\"k0\":0";
  for (int i = 1; i < 300000; ++i) json += text(",\"k", i, "\":", i);
  json += "}";
  const std::clock_t start = std::clock();
  CHECK(to_json(from_json(json)) == json);
  if (!kIsSanitized) CHECK(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC < 5);
  json.back() = ',';
  CHECK(*from_json(json + "\"k299999\":7}").find("k299999") == Value(7));
}

TEST_CASE("text from elsewhere is quoted, escaped and shortened") {
  CHECK(quoted("plain") == "\"plain\"");
  CHECK(quoted("a\"b\\c\n\t\r") == R"("a\"b\\c\n\t\r")");
  CHECK(quoted("\x1b[31m\x7f") == R"("\x1b[31m\x7f")");
  CHECK(quoted(std::string("nul\0in", 6)) == R"("nul\x00in")");
  CHECK(quoted("caf\u00e9 \u732b") == "\"caf\u00e9 \u732b\"");
  CHECK(quoted("\xc2\x9b"
               "31m \u202e") == R"("\u009b31m \u202e")");  // a control character and a mark of two and three bytes
  CHECK(quoted("\xff\xc3") == R"("\xff\xc3")");
  CHECK(quoted("\xc0\x80\xed\xa0\x80") == R"("\xc0\x80\xed\xa0\x80")");
  CHECK(quoted(std::string(100000, 'a')) == "\"" + std::string(80, 'a') + "...\"");
  CHECK(quoted("\u00e9\u00e9\u00e9", 2) == "\"\u00e9\u00e9...\"");
  std::string held = "\x1b";
  CHECK(text(quoted(held), quoted(std::as_const(held)), quoted(std::string_view(held))) == R"("\x1b""\x1b""\x1b")");
  CHECK(printable("two\nlines\tand \"\\\" \x1b]0;title\x07\r") == R"(two
lines	and "\" \x1b]0;title\x07\x0d)");
}

TEST_CASE("numbers are written in the shortest form that reads back") {
  CHECK(number(0.1) == "0.1");
  CHECK(number(1) == "1.0");
  CHECK(number(1e-8) == "1e-08");
  CHECK(std::stod(number(1.0 / 3.0)) == 1.0 / 3.0);
}

TEST_CASE("the nearest names come first, and distant ones are left out") {
  const std::vector<std::string> names = {"channels", "channel_mult", "dropout", "lpips", "st_lpips"};
  CHECK(nearest("chanels", names).front() == "channels");
  CHECK(nearest("lpips", names) == std::vector<std::string>{"lpips", "st_lpips"});
  CHECK(nearest("zzzzzz", names).empty());
  CHECK(nearest("lpips" + std::string(100000, 's'), names).empty());
}
