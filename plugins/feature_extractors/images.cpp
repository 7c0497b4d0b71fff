#include "images.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::feature_extractors {

Tensor as_numbers(const Tensor& images) {
  return images.is_floating_point() ? images : images.to(at::kFloat) / 127.5 - 1;
}

Tensor as_rgb(const Tensor& images) {
  const Tensor x = as_numbers(images);
  return x.size(1) == 1 ? x.expand({-1, 3, -1, -1}) : x;
}

std::int64_t require_rgb_or_grey(const ImageShape& image, std::string_view extractor) {
  if (image.channels != 1 && image.channels != 3) {
    throw ConfigError(text(extractor, " takes RGB (3) or grey (1) images, these have ", image.channels,
                           " channels; use an extractor without a trained network, such as pixels or random_patches"));
  }
  return image.channels;
}

bool is_wanted(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace casdm::feature_extractors
