#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "casdm/choice.h"
#include "casdm/dataset.h"
#include "casdm/options.h"

namespace casdm::dataset_shapes {

enum class Background { white, black, random };

constexpr auto choices_of(Background) {
  using enum Background;
  return choices<Background>({{white, "white"}, {black, "black"}, {random, "random"}});
}

struct ShapesOptions {
  Count num_images = 10000;
  std::int64_t seed = 0;
  std::vector<std::string> forms = {"circle", "square", "triangle", "ring", "cross"};
  Background background = Background::white;

  static void describe(Schema<ShapesOptions>& s) {
    s.option("num_images", &ShapesOptions::num_images, "Size of the data set.").range(1, 1e8).in_unit("images");
    s.option("seed", &ShapesOptions::seed, "Another seed gives other images.").at_least(0);
    s.option("forms", &ShapesOptions::forms,
             "The forms, each a class in this order: `circle`, `square`, `triangle`, `ring`, `cross`.");
    s.option("background", &ShapesOptions::background, "`random`: a pale colour for each image.");
  }
};

/// One form per image, with random position, size, rotation and colour, anti-aliased.
///
/// Image `index` is a pure function of (seed, index) and of the options. It is drawn at the experiment's image_size,
/// with its geometry in fractions of that, so two sizes show the same picture. The label is the form.
class ShapesDataset : public Dataset {
 public:
  using Options = ShapesOptions;

  /// Throws ConfigError if `forms` is empty or contains an unknown or repeated form.
  ShapesDataset(const ShapesOptions& options, const Spec& spec);

  std::int64_t size() const override { return options_.num_images; }
  Example get(std::int64_t index) const override;
  std::int64_t num_classes() const override { return static_cast<std::int64_t>(options_.forms.size()); }
  std::string describe(std::int64_t index) const override;

 private:
  ShapesOptions options_;
  Spec spec_;
};

}  // namespace casdm::dataset_shapes
