#include "random_patches.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "casdm/error.h"
#include "casdm/philox.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "images.h"

namespace casdm::feature_extractors {

void RandomPatchesOptions::describe(Schema<RandomPatchesOptions>& s) {
  s.option("features", &RandomPatchesOptions::features, "Number of features of a patch, at each scale.")
      .range(1, 16384);
  s.option("patch", &RandomPatchesOptions::patch, "Side of a patch.").range(1, 64).in_unit("pixels");
  s.option("scales", &RandomPatchesOptions::scales,
           "The image itself, at half its size, at a quarter, ...: as many as are not smaller than a patch.")
      .range(1, 8);
  s.option("bandwidth", &RandomPatchesOptions::bandwidth,
           "Root mean square difference of pixels, in [-1, 1], by which two patches become dissimilar.")
      .range(1e-3, 1e3);
}

RandomPatches::RandomPatches(const Options& options, const Spec& spec)
    : options_(options), channels_(spec.image.channels), scales_(0) {
  for (std::int64_t side = std::min(spec.image.height, spec.image.width);
       scales_ < options.scales && side >= options.patch; side /= 2) {
    ++scales_;
  }
  if (scales_ == 0) {
    throw ConfigError(text("patch: a patch of ", options.patch, " px does not fit into images of ", spec.image.height,
                           " x ", spec.image.width, " px; make it smaller"));
  }
  const std::int64_t numbers = channels_ * options.patch * options.patch;
  weight_ = normal_like(at::empty({1, options.features, channels_, options.patch, options.patch}),
                        {derive_seed(spec.seed, "patches")})[0] /
            (options.bandwidth * std::sqrt(static_cast<double>(numbers)));
  std::vector<double> phases(static_cast<std::size_t>(options.features));
  for (std::size_t k = 0; k < phases.size(); ++k) {
    phases[k] = 2 * std::numbers::pi * uniform(derive_seed(spec.seed, "phases", k));
  }
  weight_ = add_buffer("weight", weight_);
  phase_ = add_buffer("phase", at::tensor(phases, at::kFloat));
}

ExtractorInfo RandomPatches::info() const {
  return {.features = {{"pooled", options_.features * scales_, false}, {"spatial", options_.features, true}},
          .channels = channels_};
}

Tensor RandomPatches::map(const Tensor& x) const {
  return std::numbers::sqrt2 * at::conv2d(x, weight_.to(x.scalar_type()), phase_.to(x.scalar_type())).cos();
}

NamedTensors RandomPatches::extract(const Tensor& images, const std::vector<std::string>& names) {
  Tensor x = as_numbers(images);
  const Tensor spatial = map(x);
  std::vector<Tensor> pooled = {spatial.mean({2, 3})};
  for (std::int64_t scale = 1; scale < scales_ && is_wanted(names, "pooled"); ++scale) {
    x = at::avg_pool2d(x, 2);
    pooled.push_back(map(x).mean({2, 3}));
  }
  NamedTensors result;
  for (const std::string& name : names) result.emplace_back(name, name == "pooled" ? at::cat(pooled, 1) : spatial);
  return result;
}

}  // namespace casdm::feature_extractors
