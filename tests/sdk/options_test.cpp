#include <doctest/doctest.h>

#include "casdm/error.h"
#include "casdm/options.h"

using namespace casdm;

namespace {

struct Inner {
  double eps = 1.0;
  static void describe(Schema<Inner>& s) { s.option("eps", &Inner::eps, "Weight."); }
};

struct Outer {
  std::int64_t channels = 128;
  std::vector<std::int64_t> mult = {1, 2};
  std::optional<double> maybe;
  Count images = 1000;
  Inner weights;
  ComponentConfig child;

  static void describe(Schema<Outer>& s) {
    s.option("channels", &Outer::channels, "Width.").range(1, 4096);
    s.option("mult", &Outer::mult, "Multipliers.");
    s.option("maybe", &Outer::maybe, "No default.");
    s.option("images", &Outer::images, "Length.").in_unit("images");
    s.option("weights", &Outer::weights, "Weights.");
    s.component("child", &Outer::child, "backbone", "A network.");
  }
};

}  // namespace

TEST_CASE("options read what is given and keep defaults elsewhere") {
  const Value table = from_json(R"({"channels":8,"weights":{"eps":2},"images":"1.5k","child":{"type":"unet","x":1}})");
  const Outer options = read_options<Outer>(table);
  CHECK(options.channels == 8);
  CHECK(options.mult == std::vector<std::int64_t>{1, 2});
  CHECK_FALSE(options.maybe.has_value());
  CHECK(options.images == 1500);
  CHECK(options.weights.eps == 2.0);
  CHECK(options.child.type == "unet");
  CHECK(options.child.table.find("x")->as_integer() == 1);
}

TEST_CASE("a schema survives its way through JSON") {
  const Value written = to_value(schema_of<Outer>());
  CHECK(to_json(to_value(schema_from_value(from_json(to_json(written))))) == to_json(written));
  CHECK(written.as_array()[0].find("default")->as_integer() == 128);
  CHECK(written.as_array()[4].find("fields")->as_array().size() == 1);
  CHECK(written.as_array()[5].find("component")->as_string() == "backbone");
}

TEST_CASE("counts take suffixes and refuse fractions and other units") {
  CHECK(read_count("200k") == 200000);
  CHECK(read_count("1.5M") == 1500000);
  CHECK(read_count(7) == 7);
  for (const char* bad : {"", "k", "1.0001k5", "5 k", "2kk", "1.00005k"}) CHECK_THROWS_AS(read_count(bad), ConfigError);
  CHECK_THROWS_AS(read_count(1.5), ConfigError);
}
