#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

/// 3x3 convolutions with stride 1 that keep the size, by Winograd's F(4x4, 3x3), for contiguous float32 channels-last
/// images x and gradients [B, C or K, H, W] and a contiguous weight [K, C, 3, 3] on the CPU. See winograd_kernels.h.
namespace casdm::convolution {

using at::Tensor;

/// Whether this processor and these shapes have a kernel.
bool has_winograd(const Tensor& x, const Tensor& weight);

/// Tiles that cover the images.
std::int64_t winograd_tiles(const Tensor& x);

/// Does not depend on the batch or the number of threads, in any bit of an image. `bias` may be undefined.
Tensor winograd_conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias);
Tensor winograd_input_gradient(const Tensor& grad_y, const Tensor& weight);

/// A sum over all tiles, whose order depends on the number of threads.
Tensor winograd_weight_gradient(const Tensor& grad_y, const Tensor& x);

}  // namespace casdm::convolution
