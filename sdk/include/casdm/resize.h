#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "casdm/api.h"

namespace casdm CASDM_API {

using at::Tensor;

enum class Interpolation {
  bilinear,  ///< antialiased where images shrink
  bicubic,   ///< likewise
  area,      ///< means of pixels
};

/// Images [B, C, H, W], floating point, at another size: what LibTorch's `_upsample_bilinear2d_aa`,
/// `_upsample_bicubic2d_aa` and `adaptive_avg_pool2d` give. Unlike theirs on a GPU, its gradient has the same bits each
/// time: off the CPU it is made by matrix products.
Tensor resized(const Tensor& images, std::int64_t height, std::int64_t width, Interpolation interpolation);

/// The same as products with two matrices, on any device.
Tensor resized_by_products(const Tensor& images, std::int64_t height, std::int64_t width, Interpolation interpolation);

}  // namespace casdm
