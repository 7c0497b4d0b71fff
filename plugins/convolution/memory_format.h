#pragma once

#include <ATen/core/Tensor.h>

namespace casdm::convolution {

using at::Tensor;

/// x [B, C, H, W] dense in `format` and in `type`: x itself, or one copy. Unlike those of Tensor::contiguous, its
/// strides tell the format of images of one channel as well, from which LibTorch chooses that of a convolution's
/// result.
Tensor in_format(const Tensor& x, at::MemoryFormat format, at::ScalarType type);
Tensor in_format(const Tensor& x, at::MemoryFormat format);

}  // namespace casdm::convolution
