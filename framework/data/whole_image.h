#pragma once

#include <cmath>
#include <cstdint>

#include "casdm/dataset.h"
#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

/// Whether an image's sides and channels are positive and it has `count` = height * width * channels numbers. By
/// divisions, since the product of what a plugin says may be too large for an integer.
inline bool is_whole(const Image& image, std::size_t count) {
  auto left = static_cast<std::int64_t>(count);
  for (const std::int64_t size : {image.channels, image.width, image.height}) {
    if (size <= 0 || left % size != 0) return false;
    left /= size;
  }
  return left == 1;
}

/// In a floating-point image: 1 plus what rounding may add.
inline constexpr float kLargestPixel = 1.0001F;

/// Throws Error if one of the `values` of `what`, an image in floating point, is not finite or beyond [-1, 1].
inline void require_pixel_range(const std::vector<float>& values, const std::string& what) {
  for (const float value : values) {
    if (std::abs(value) <= kLargestPixel) continue;
    throw Error(text(what, " has the value ", number(value), "; expected values in [-1, 1], the range of samples"));
  }
}

}  // namespace casdm
