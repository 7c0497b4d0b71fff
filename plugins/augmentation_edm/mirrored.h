#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace casdm::augmentation_edm {

/// The pixel of an axis with `size` pixels that appears at `index`, any integer, if the image is continued by mirror
/// images that share their border pixels.
inline std::int64_t mirrored(std::int64_t index, std::int64_t size) {
  const std::int64_t period = std::max<std::int64_t>(1, 2 * size - 2);
  const std::int64_t folded = (index % period + period) % period;
  return size - 1 - std::abs(size - 1 - folded);
}

}  // namespace casdm::augmentation_edm
