#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace casdm::trunks {

using at::Tensor;

/// A convolution of each channel of x [B, C, H, W] with its own filter, where x goes on beyond its edges as its mirror
/// image without repeating them, as often as needed. The result has the format of x.
///
/// For channels-last x in float32 and bfloat16 on a GPU it is one kernel, and its gradient another, which reads the
/// gradient once and writes that of x once: LibTorch's reflection padding is contiguous, so that x and its gradient
/// would be copied there and back beside the padding and the convolution.
/// @param filter  [C, 1, K, K], which gets no gradient
Tensor mirrored_blur(const Tensor& x, const Tensor& filter, std::int64_t stride, std::int64_t padding);

}  // namespace casdm::trunks
