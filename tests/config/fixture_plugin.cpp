#include "casdm/dataset.h"
#include "casdm/plugin.h"

namespace casdm {

namespace {

struct FixtureOptions {
  std::int64_t num_images = 4;
  std::string colour = "red";

  static void describe(Schema<FixtureOptions>& s) {
    s.option("num_images", &FixtureOptions::num_images, "How many images there are.")
        .at_least(1)
        .in_unit("images")
        .example(12);
    s.option("colour", &FixtureOptions::colour, "What they look like.").choices({"red", "green"});
  }
};

/// Black images.
class FixtureDataset final : public Dataset {
 public:
  using Options = FixtureOptions;
  FixtureDataset(const Options& options, const Spec& spec) : options_(options), spec_(spec) {}

  std::int64_t size() const override { return options_.num_images; }
  Example get(std::int64_t) const override {
    const std::int64_t size = spec_.image.height;
    return {{size, size, spec_.image.channels, std::vector<std::uint8_t>(size * size * spec_.image.channels)}, -1};
  }
  std::string describe(std::int64_t index) const override { return "fixture image " + std::to_string(index); }

 private:
  Options options_;
  Spec spec_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "For the tests of discovery", .licence = "Apache-2.0"});
  plugin.add<FixtureDataset>("fixture", "Black images.");
}

}  // namespace casdm
