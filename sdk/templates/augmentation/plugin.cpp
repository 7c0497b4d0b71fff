#include <ATen/ATen.h>

#include <algorithm>

#include "casdm/augmentation.h"
#include "casdm/plugin.h"
#include "casdm/random.h"

namespace {

using at::Tensor;

struct TemplateNameOptions {
  double p = 0.1;
  double part = 0.25;

  static void describe(casdm::Schema<TemplateNameOptions>& s) {
    s.option("p", &TemplateNameOptions::p, "Chance that an image loses a square.").range(0, 1);
    s.option("part", &TemplateNameOptions::part, "Height and width of the square, as a part of the image's.")
        .greater_than(0)
        .range(0, 1);
  }
};

/// Paints a square at a random position black (DeVries & Taylor 2017, "Cutout"), and tells the networks whether and
/// where.
class TemplateNameAugmentation : public casdm::Augmentation {
 public:
  using Options = TemplateNameOptions;

  TemplateNameAugmentation(const Options& options, const Spec& spec)
      : options_(options),
        size_(spec.image.height),
        square_(std::max<std::int64_t>(1, static_cast<std::int64_t>(options.part * static_cast<double>(size_)))) {}

  std::int64_t label_size() const override { return 3; }

  /// All random choices for an image are functions of its seed.
  casdm::Augmented apply(const Tensor& images, const std::vector<std::uint64_t>& seeds) const override {
    casdm::Augmented result{images.clone(), at::zeros({images.size(0), label_size()}, images.options())};
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      if (casdm::uniform(casdm::derive_seed(seeds[i], "happens")) >= options_.p) continue;
      const auto index = static_cast<std::int64_t>(i);
      const std::int64_t x = place(seeds[i], "x");
      const std::int64_t y = place(seeds[i], "y");
      result.images[index].narrow(1, y, square_).narrow(2, x, square_).fill_(-1);
      result.labels[index].copy_(at::tensor({1.0, part_of_width(x), part_of_width(y)}, at::kDouble));
    }
    return result;
  }

 private:
  double part_of_width(std::int64_t pixels) const { return static_cast<double>(pixels) / static_cast<double>(size_); }
  std::int64_t place(std::uint64_t seed, std::string_view side) const {
    return static_cast<std::int64_t>(casdm::uniform(casdm::derive_seed(seed, side)) *
                                     static_cast<double>(size_ - square_ + 1));
  }

  Options options_;
  std::int64_t size_;
  std::int64_t square_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "An augmentation of my own", .licence = "Apache-2.0"});
  plugin.add<TemplateNameAugmentation>("template_name", "Paints a square of some images black.");
}
