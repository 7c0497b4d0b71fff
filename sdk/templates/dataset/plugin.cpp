#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "casdm/dataset.h"
#include "casdm/error.h"
#include "casdm/plugin.h"
#include "casdm/random.h"
#include "casdm/text.h"

namespace {

struct TemplateNameOptions {
  casdm::Count num_images = 1000;
  std::int64_t seed = 0;

  static void describe(casdm::Schema<TemplateNameOptions>& s) {
    s.option("num_images", &TemplateNameOptions::num_images, "Size of the data set.").at_least(1).in_unit("images");
    s.option("seed", &TemplateNameOptions::seed, "Another seed makes other images.").at_least(0);
  }
};

/// Stripes of random direction, width and colour. `get` is a pure function of the index: several threads call it.
class TemplateNameDataset : public casdm::Dataset {
 public:
  using Options = TemplateNameOptions;

  TemplateNameDataset(const Options& options, const Spec& spec) : options_(options), spec_(spec) {}

  std::int64_t size() const override { return options_.num_images; }

  casdm::Example get(std::int64_t index) const override {
    if (index < 0 || index >= size()) throw casdm::Error(casdm::text("there is no ", describe(index)));
    const std::uint64_t seed =
        casdm::derive_seed(static_cast<std::uint64_t>(options_.seed), "image", static_cast<std::uint64_t>(index));
    const double angle = std::numbers::pi * casdm::uniform(casdm::derive_seed(seed, "angle"));
    const double frequency = 1 + 3 * casdm::uniform(casdm::derive_seed(seed, "frequency"));
    std::array<double, 3> colour{};
    for (std::size_t c = 0; c < 3; ++c) colour[c] = casdm::uniform(casdm::derive_seed(seed, "colour", c));

    const std::int64_t side = spec_.image_size;
    casdm::Image image{side, side, spec_.channels, {}};
    for (std::int64_t y = 0; y < side; ++y) {
      for (std::int64_t x = 0; x < side; ++x) {
        const double along = (std::cos(angle) * x + std::sin(angle) * y) / static_cast<double>(side);
        const double wave = 0.5 + 0.5 * std::sin(2 * std::numbers::pi * frequency * along);
        for (std::int64_t c = 0; c < spec_.channels; ++c) {
          const double value = wave * colour[static_cast<std::size_t>(c)];
          image.pixels.push_back(static_cast<std::uint8_t>(std::lround(255 * std::clamp(value, 0.0, 1.0))));
        }
      }
    }
    return {std::move(image), -1};
  }

  std::string describe(std::int64_t index) const override {
    return casdm::text("stripes ", index, " of seed ", options_.seed);
  }

 private:
  TemplateNameOptions options_;
  Spec spec_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A data set of my own", .licence = "Apache-2.0"});
  plugin.add<TemplateNameDataset>("template_name", "Stripes of random direction, width and colour.");
}
