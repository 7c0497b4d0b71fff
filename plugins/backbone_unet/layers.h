#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "casdm/module.h"

namespace casdm::unet {

/// Makes the parameters of a network, in order. Each is drawn from a generator seeded by the
/// network's seed and the parameter's name, so that none depends on which others exist.
class ParameterMaker {
 public:
  explicit ParameterMaker(std::uint64_t seed) : seed_(seed) {}

  /// U(-b, b) with b = 1 / sqrt(fan_in): what PyTorch gives weights and biases of linear and
  /// convolutional layers (He et al. 2015 with a = sqrt 5).
  Tensor uniform(const std::string& name, at::IntArrayRef shape, std::int64_t fan_in);
  /// N(0, 1)
  Tensor normal(const std::string& name, at::IntArrayRef shape);
  Tensor constant(const std::string& name, at::IntArrayRef shape, double value);

  /// All made so far.
  const NamedTensors& made() const { return made_; }

 private:
  Tensor add(const std::string& name, Tensor value);

  std::uint64_t seed_;
  NamedTensors made_;
};

/// Whether a layer starts as zero, so that its block starts as the identity.
enum class Start { random, zero };

struct Linear {
  Tensor weight, bias;
  Linear(ParameterMaker& make, const std::string& name, std::int64_t in, std::int64_t out);
  Tensor operator()(const Tensor& x) const;
};

/// Square kernel, padded so that stride 1 keeps the size.
struct Conv2d {
  Tensor weight, bias;
  std::int64_t stride, padding;
  Conv2d(ParameterMaker& make, const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel,
         Start start = Start::random, std::int64_t stride = 1);
  Tensor operator()(const Tensor& x) const;
};

/// A 1x1 convolution over positions [B, L, C], with the reference's one-dimensional weight [out, in, 1].
struct PointwiseConv {
  Tensor weight, bias;
  PointwiseConv(ParameterMaker& make, const std::string& name, std::int64_t in, std::int64_t out,
                Start start = Start::random);
  Tensor operator()(const Tensor& x) const;
};

struct GroupNorm {
  Tensor weight, bias;
  std::int64_t groups;
  GroupNorm(ParameterMaker& make, const std::string& name, std::int64_t channels, std::int64_t groups);

  Tensor operator()(const Tensor& x) const;
  /// silu(norm(x) * (1 + scale) + shift), where `scale_shift` is [B, 2 C]; undefined: silu(norm(x)).
  Tensor silu(const Tensor& x, const Tensor& scale_shift = {}) const;
};

}  // namespace casdm::unet
