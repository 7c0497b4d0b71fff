#pragma once

#include <ATen/core/Tensor.h>

namespace casdm::convolution {

using at::Tensor;

/// at::conv2d(x, weight, bias, 1, 1): a 3x3 convolution with stride 1 that keeps the size.
///
/// On the CPU, for float32 channels-last images with numbers of channels that are multiples of 32, it is computed by
/// Winograd's method, in about half the time, where there are enough pixels for that. Its rounding errors are then two
/// to ten times those of at::conv2d, below 1e-5 of the largest output, and the output of an image has the same
/// bits in any batch that is computed in this way and with any number of threads. Everything else, like bf16 under
/// autocast or other devices, is left to at::conv2d. Gradients can be differentiated again.
/// @param x       [B, C, H, W]
/// @param weight  [K, C, 3, 3]
/// @param bias    [K], or undefined
Tensor conv2d_3x3(const Tensor& x, const Tensor& weight, const Tensor& bias);

/// Whether conv2d_3x3 leaves its arguments to at::conv2d.
bool is_left_to_aten(const Tensor& x, const Tensor& weight, const Tensor& bias);

}  // namespace casdm::convolution
