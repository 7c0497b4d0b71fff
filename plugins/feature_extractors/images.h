#pragma once

#include <string>
#include <string_view>

#include "casdm/feature_extractor.h"

namespace casdm::feature_extractors {

/// Images as floating-point numbers in [-1, 1]: bytes v become v / 127.5 - 1, floating-point images stay as they are.
Tensor as_numbers(const Tensor& images);

/// Like as_numbers, with three channels: grey is repeated.
Tensor as_rgb(const Tensor& images);

/// The number of channels of `image`. Throws ConfigError unless it is RGB or grey.
std::int64_t require_rgb_or_grey(const ImageShape& image, std::string_view extractor);

/// Whether `name` is among `names`.
bool is_wanted(const std::vector<std::string>& names, std::string_view name);

}  // namespace casdm::feature_extractors
