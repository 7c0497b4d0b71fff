#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "casdm/parameter_maker.h"
#include "options.h"

namespace casdm::unet {

/// Whether a layer is initially zero, so that its block starts as the identity.
enum class Start { random, zero };

struct Linear : LayerParameters {
  Linear(ParameterMaker& make, const std::string& name, std::int64_t in, std::int64_t out);
  Tensor operator()(const Tensor& x) const;
};

/// Square kernel, padded so that stride 1 keeps the size.
struct Conv2d : LayerParameters {
  std::int64_t stride, padding;
  Convolution convolution;
  Conv2d(ParameterMaker& make, const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel,
         Start start = Start::random, std::int64_t stride = 1, Convolution convolution = Convolution::direct);
  Tensor operator()(const Tensor& x) const;
};

/// A 1x1 convolution over positions [B, L, C], with the reference's one-dimensional weight [out, in, 1].
struct PointwiseConv : LayerParameters {
  PointwiseConv(ParameterMaker& make, const std::string& name, std::int64_t in, std::int64_t out,
                Start start = Start::random);
  Tensor operator()(const Tensor& x) const;
};

struct GroupNorm {
  Tensor weight, bias;
  std::int64_t groups;
  GroupNorm(ParameterMaker& make, const std::string& name, std::int64_t channels, std::int64_t groups);

  Tensor operator()(const Tensor& x) const;
  Tensor silu(const Tensor& x) const;
  /// silu(norm(x) * (1 + scale) + shift), where `scale_shift` is [B, 2 C].
  Tensor scaled_silu(const Tensor& x, const Tensor& scale_shift) const;
  /// silu(norm(x + offset)), where `offset` is [B, C].
  Tensor offset_silu(const Tensor& x, const Tensor& offset) const;
};

/// x in `format`, and in the type of a convolution that comes first: one copy, not two.
Tensor as_input(const Tensor& x, at::MemoryFormat format);

/// The kernel for a convolution of x. On CUDA it gets the dtype and memory format that cuDNN needs in one copy;
/// autocast and cuDNN, forward and backward, would each make their own.
Tensor kernel_for(const Tensor& x, const Tensor& weight);

/// Twice as high and wide: each pixel four times.
Tensor doubled(const Tensor& x);

}  // namespace casdm::unet
