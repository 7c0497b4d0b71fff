#pragma once

#include <cstdint>

#include "casdm/api.h"

namespace casdm CASDM_API {

/// The shape of one image, in numbers of elements. It travels from the data to networks, metrics and samplers.
struct ImageShape {
  std::int64_t channels = 3;  ///< 3 RGB, 1 grey
  std::int64_t height = 32;   ///< pixels
  std::int64_t width = 32;    ///< pixels

  constexpr ImageShape() = default;
  constexpr ImageShape(std::int64_t channels, std::int64_t height, std::int64_t width)
      : channels(channels), height(height), width(width) {}
  static ImageShape square(std::int64_t channels, std::int64_t size) { return {channels, size, size}; }

  bool operator==(const ImageShape&) const = default;
};

}  // namespace casdm
