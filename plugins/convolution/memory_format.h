#pragma once

#include <ATen/core/Tensor.h>

#include "casdm/choice.h"

namespace casdm::convolution {

using at::Tensor;

/// How the images in a network lie in memory: [B, C, H, W], [B, H, W, C], or as the network chooses.
enum class MemoryFormat { auto_, contiguous, channels_last };

constexpr auto choices_of(MemoryFormat) {
  using enum MemoryFormat;
  return choices<MemoryFormat>({{auto_, "auto"}, {contiguous, "contiguous"}, {channels_last, "channels_last"}});
}

/// LibTorch's format for `format`: `automatic` for auto.
at::MemoryFormat chosen(MemoryFormat format, at::MemoryFormat automatic);

/// x [B, C, H, W] dense in `format` and in `type`: x itself, or one copy. Unlike those of Tensor::contiguous, its
/// strides tell the format of images of one channel as well, from which LibTorch chooses that of a convolution's
/// result.
Tensor in_format(const Tensor& x, at::MemoryFormat format, at::ScalarType type);
Tensor in_format(const Tensor& x, at::MemoryFormat format);

}  // namespace casdm::convolution
