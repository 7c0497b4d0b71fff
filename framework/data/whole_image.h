#pragma once

#include <cstdint>

#include "casdm/dataset.h"

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

}  // namespace casdm
