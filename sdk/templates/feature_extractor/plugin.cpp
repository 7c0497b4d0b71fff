#include <ATen/ATen.h>

#include "casdm/feature_extractor.h"
#include "casdm/plugin.h"
#include "casdm/resize.h"

namespace {

using at::Tensor;

struct TemplateNameOptions {
  std::int64_t cells = 4;

  static void describe(casdm::Schema<TemplateNameOptions>& s) {
    s.option("cells", &TemplateNameOptions::cells, "The image is divided into this many cells along each side.")
        .range(1, 32);
  }
};

/// Mean and standard deviation of each colour: of the whole image, and of every cell of a grid.
class TemplateNameExtractor : public casdm::FeatureExtractor {
 public:
  using Options = TemplateNameOptions;

  TemplateNameExtractor(const Options& options, const Spec& spec) : options_(options), channels_(spec.image.channels) {}

  casdm::ExtractorInfo info() const override {
    return {.features = {{"colours", 2 * channels_, false}, {"cells", 2 * channels_, true}}};
  }

  casdm::NamedTensors extract(const Tensor& images, const std::vector<std::string>& names) override {
    const Tensor x = images.is_floating_point() ? images : images.to(at::kFloat) / 127.5 - 1;
    casdm::NamedTensors result;
    for (const std::string& name : names) {
      const std::int64_t cells = name == "cells" ? options_.cells : 1;
      const auto average = [&](const Tensor& values) {
        return casdm::resized(values, cells, cells, casdm::Interpolation::area);
      };
      const Tensor mean = average(x);
      const Tensor variance = average(x.square()) - mean.square();
      // The square root of 0 has no derivative.
      const Tensor features = at::cat({mean, (variance.clamp_min(0) + 1e-6).sqrt()}, 1);
      result.emplace_back(name, name == "cells" ? features : features.flatten(1));
    }
    return result;
  }

 private:
  Options options_;
  std::int64_t channels_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A feature extractor of my own", .licence = "Apache-2.0"});
  plugin.add<TemplateNameExtractor>("template_name", "Mean and deviation of each colour, whole and in cells.");
}
