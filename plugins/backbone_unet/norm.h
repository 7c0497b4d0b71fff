#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace casdm::unet {

using at::Tensor;

enum class Activation { none, silu };

/// The operations after the normalisation in a group norm.
struct NormArguments {
  Tensor weight;       ///< [C]
  Tensor bias;         ///< [C]
  Tensor offset;       ///< [B, C], added to every pixel of x before the normalisation; undefined: none
  Tensor scale_shift;  ///< [B, 2 C], scale then shift; undefined: none
  std::int64_t groups = 1;
  Activation activation = Activation::none;
};

/// act((GN(x + offset) weight + bias) (1 + scale) + shift), eps 1e-5, computed in float32 (in float64 for
/// float64 x) whatever the dtype of x, and returned in the dtype of x.
///
/// LibTorch's own GroupNorm on the CPU is slow for channels-last images, the format in which its convolutions are
/// fastest. For these, this is one fused pass of our own that needs no memory for the values between normalisation and
/// activation; its gradient cannot be differentiated again, like that of LibTorch's attention there. Elsewhere it is
/// composed of LibTorch's operators.
/// @param x  [B, C, H, W]
Tensor group_norm(const Tensor& x, const NormArguments& arguments);

}  // namespace casdm::unet
