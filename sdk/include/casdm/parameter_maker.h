#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "casdm/api.h"
#include "casdm/module.h"

/// First weights of networks as functions of a seed and a name: the same whatever else the network has, and drawn
/// without the global generator.
namespace casdm CASDM_API {

/// U(-bound, bound), float32 on the CPU.
Tensor seeded_uniform(std::uint64_t seed, std::string_view name, at::IntArrayRef shape, double bound);

/// N(0, deviation^2), likewise.
Tensor seeded_normal(std::uint64_t seed, std::string_view name, at::IntArrayRef shape, double deviation);

/// The two parameters of a linear or convolutional layer.
struct LayerParameters {
  Tensor weight, bias;
};

/// Makes the parameters of a network, in order, and keeps them. Each name is made once.
///
///     class MyBackbone : public casdm::Backbone {
///       MyBackbone(const Options& options, const Spec& spec)
///           : make_(spec.seed), in_(make_.layer("in", {options.channels, spec.image.channels, 3, 3})), ... {}
///       casdm::NamedTensors parameters() const override { return make_.made(); }
class ParameterMaker {
 public:
  /// @param seed  of the component's Spec
  explicit ParameterMaker(std::uint64_t seed) : seed_(seed) {}

  /// `name`.weight and `name`.bias, both uniform between +-1 / sqrt(fan_in) with fan_in the elements of weight[0]: what
  /// PyTorch gives linear and convolutional layers (He et al. 2015 with a = sqrt 5).
  /// @param weight  the shape [out, in, ...]
  LayerParameters layer(const std::string& name, at::IntArrayRef weight);

  /// The same, of zeros: the last layer of a branch that starts as nothing.
  LayerParameters zero_layer(const std::string& name, at::IntArrayRef weight);

  /// Uniform between +-1 / sqrt(fan_in).
  Tensor uniform(const std::string& name, at::IntArrayRef shape, std::int64_t fan_in);
  Tensor normal(const std::string& name, at::IntArrayRef shape, double deviation = 1);
  Tensor constant(const std::string& name, at::IntArrayRef shape, double value);

  /// All made so far: handles to the parameters, which require gradients.
  const NamedTensors& made() const { return made_; }

 private:
  Tensor add(const std::string& name, Tensor value);

  std::uint64_t seed_;
  NamedTensors made_;
};

}  // namespace casdm
