#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "casdm/api.h"
#include "casdm/weight_shadow.h"

namespace casdm CASDM_API {

/// What a parameter is to its network, for optimisers that treat kinds of parameters differently.
enum class ParameterRole {
  automatic,  ///< by its shape and name: 2-d matrix, 4-d convolution, 1-d bias or norm
  matrix,
  convolution,
  embedding,
  norm,
  bias,
  output,  ///< of the last layer
};

/// Tensors with their state names, in a stable order.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

/// Anything that holds tensors: networks, metrics with weights.
///
/// The host moves, saves, loads, averages and optimises a module through these handles alone, so
/// a handle must share its storage with the tensor the module computes with: return the tensor,
/// not a copy. Names must be unique within the module and the same for every instance made with
/// the same options; they are the keys of checkpoints.
class Module {
 public:
  virtual ~Module();

  /// What the optimiser may change: leaves that require gradients.
  virtual NamedTensors parameters() const { return {}; }

  /// What belongs to the state without being trained: running statistics, fixed weights.
  virtual NamedTensors buffers() const { return {}; }

  /// The role of one of its parameters.
  virtual ParameterRole role(std::string_view /*parameter*/) const { return ParameterRole::automatic; }

  /// Training behaviour (dropout) on or off. Modules start in training mode.
  virtual void train(bool /*on*/) {}

  /// Its copy of the weights in bf16, if it wants one: the optimiser writes it before the host calls `end_shadow`.
  /// Until then the module does not read it, nor afterwards once a weight has changed.
  /// @param weights  float32 [N], all in one piece of memory, of which the parameters are views
  virtual WeightShadow begin_shadow(const Tensor& /*weights*/) { return {}; }

  /// The copy agrees with the weights, rounded to nearest even.
  virtual void end_shadow() {}
};

/// Parameters, then buffers.
NamedTensors state(const Module& module);

/// An interface derived from Module, with its tensors kept: the convenient base of what is written with
/// ATen functions (`at::conv2d`, `at::group_norm`, ...).
///
///     class MyBackbone : public casdm::NetworkOf<casdm::Backbone> { ... };
template <class Base>
class NetworkOf : public Base {
 public:
  NamedTensors parameters() const override { return parameters_; }
  NamedTensors buffers() const override { return buffers_; }
  void train(bool on) override { training_ = on; }
  bool is_training() const { return training_; }

 protected:
  /// Registers `value` under `name` and returns the handle to compute with.
  Tensor add_parameter(std::string name, Tensor value) {
    value.requires_grad_(true);
    return parameters_.emplace_back(std::move(name), std::move(value)).second;
  }
  Tensor add_buffer(std::string name, Tensor value) {
    return buffers_.emplace_back(std::move(name), std::move(value)).second;
  }

 private:
  NamedTensors parameters_;
  NamedTensors buffers_;
  bool training_ = true;
};

/// A part of a network, of no interface itself.
using Network = NetworkOf<Module>;

}  // namespace casdm
