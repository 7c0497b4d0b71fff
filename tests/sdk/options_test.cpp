#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "casdm/choice.h"
#include "casdm/error.h"
#include "casdm/options.h"
#include "casdm/plugin_description.h"

using namespace casdm;

namespace {

enum class Colour { red, sky_blue, green };

constexpr auto choices_of(Colour) {
  using enum Colour;
  return choices<Colour>({{red, "red"}, {sky_blue, "sky-blue"}, {green, "green"}});
}

struct Common {
  Colour colour = Colour::sky_blue;
};

struct Painted : Common {
  std::optional<Colour> frame;
  std::vector<Colour> stripes = {Colour::green};
  Colour edge = Colour::red;

  static void describe(Schema<Painted>& s) {
    s.option<Colour>("colour", &Painted::colour, "Inherited.");
    s.option("frame", &Painted::frame, "No default.");
    s.option("stripes", &Painted::stripes, "Some.");
    s.option("edge", &Painted::edge, "Of two.").choices(words({Colour::red, Colour::green}));
  }
};

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
  double scale = std::numeric_limits<double>::infinity();
  std::int64_t planes = 3;
  std::string sections;
  std::filesystem::path source;
  std::string folder = "a";

  static void describe(Schema<Outer>& s) {
    s.option("channels", &Outer::channels, "Width.").range(1, 4096);
    s.option("mult", &Outer::mult, "Multipliers.");
    s.option("maybe", &Outer::maybe, "No default.");
    s.option("images", &Outer::images, "Length.").in_unit("images");
    s.option("weights", &Outer::weights, "Weights.");
    s.component("child", &Outer::child, "backbone", "A network.");
    s.option("scale", &Outer::scale, "Scale.").at_least(0).less_than(1).may_be_infinite();
    s.option("planes", &Outer::planes, "Planes.").choices({1, 3}).at_most("noise.levels");
    s.option("sections", &Outer::sections, "Sections.").matching("[0-9]+");
    s.option("source", &Outer::source, "Source.").existing_path();
    s.option("folder", &Outer::folder, "Folder.").file_name().only_with("planes", {1, 3}).not_with("sections");
  }
};

}  // namespace

TEST_CASE("a condition on a key path needs values") {
  OptionSpec option;
  option.name = "rho";
  CHECK_THROWS_WITH_AS(option.not_with("head.type"),
                       "option \"rho\": not_with(\"head.type\") needs values, since the default at a key path is "
                       "unknown here",
                       Error);
  CHECK(option.conditions.empty());
  CHECK(option.not_with("head.type", {"edm"}).not_with("other").conditions.size() == 2);
}

TEST_CASE("options read given values and otherwise keep their defaults") {
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

TEST_CASE("an enum is an option through the words for its values") {
  const OptionSchema schema = schema_of<Painted>();
  CHECK(schema[0].type == OptionType::string);
  CHECK((schema[0].allowed == std::vector<Value>{"red", "sky-blue", "green"}));
  CHECK((schema[0].default_value == Value("sky-blue")));
  CHECK(schema[1].default_value.is_null());
  CHECK((schema[2].element.front().allowed == schema[0].allowed));
  CHECK((schema[3].allowed == std::vector<Value>{"red", "green"}));

  const auto painted = read_options<Painted>(from_json(R"({"colour":"green","frame":"red","stripes":[]})"));
  CHECK(painted.colour == Colour::green);
  CHECK(painted.frame == Colour::red);
  CHECK(painted.stripes.empty());
  CHECK(painted.edge == Colour::red);
  CHECK(to_json(write_options(painted)) == R"({"colour":"green","frame":"red","stripes":[],"edge":"red"})");
  CHECK_THROWS_WITH_AS(read_options<Painted>(from_json(R"({"colour":"blue"})")),
                       R"(expected one of "red", "sky-blue", "green", got "blue")", ConfigError);
  CHECK_THROWS_AS(read_options<Painted>(from_json(R"({"colour":1})")), ConfigError);
}

TEST_CASE("a schema survives conversion to JSON and back") {
  const Value written = to_value(schema_of<Outer>());
  CHECK(to_json(to_value(schema_from_value(from_json(to_json(written))))) == to_json(written));
  CHECK(written.as_array()[0].find("default")->as_integer() == 128);
  CHECK(written.as_array()[4].find("fields")->as_array().size() == 1);
  CHECK(written.as_array()[5].find("component")->as_string() == "backbone");
  const OptionSchema read = schema_from_value(from_json(to_json(written)));
  CHECK(read[6].exclusive_maximum);
  CHECK(read[6].allows_infinite);
  CHECK(std::isinf(read[6].default_value.as_number()));
  CHECK((read[7].allowed == std::vector<Value>{1, 3}));
  CHECK(read[7].at_most_key == "noise.levels");
  CHECK(read[8].pattern == "[0-9]+");
  CHECK(read[9].must_exist);
  CHECK(read[10].is_file_name);
  REQUIRE(read[10].conditions.size() == 2);
  CHECK(read[10].conditions[0].option == "planes");
  CHECK((read[10].conditions[0].values == std::vector<Value>{1, 3}));
  CHECK_FALSE(read[10].conditions[0].is_excluded);
  CHECK(read[10].conditions[1].is_excluded);
  CHECK(read[10].conditions[1].values.empty());
}

TEST_CASE("a plugin's description survives conversion to JSON and back, including recommendations") {
  PluginDescription description;
  description.info.id = "mine";
  for (const char* name : {"plain", "good"}) {
    ComponentEntry entry;
    entry.kind = "sampler";
    entry.name = name;
    entry.interface_version = 2;
    entry.is_recommended = entry.name == "good";
    description.components.push_back(std::move(entry));
  }
  const PluginDescription read = description_from_json(to_json(description));
  CHECK(to_json(read) == to_json(description));
  CHECK_FALSE(read.find("sampler", "plain")->is_recommended);
  CHECK(read.find("sampler", "good")->is_recommended);
}

TEST_CASE("counts accept suffixes and refuse fractions and other units") {
  CHECK(read_count("200k") == 200000);
  CHECK(read_count("1.5M") == 1500000);
  CHECK(read_count(7) == 7);
  CHECK(read_count("9007199254740993") == 9007199254740993);
  for (const char* bad : {"", "k", "1.0001k5", "5 k", "2kk", "1.00005k"}) CHECK_THROWS_AS(read_count(bad), ConfigError);
  CHECK_THROWS_AS(read_count(1.5), ConfigError);
}
