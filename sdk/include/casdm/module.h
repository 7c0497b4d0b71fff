#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace casdm {

using at::Tensor;

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

  /// Training behaviour (dropout) on or off. Modules start in training mode.
  virtual void train(bool /*on*/) {}
};

/// Parameters, then buffers.
NamedTensors state(const Module& module);

/// A Module that keeps its own tensors; the convenient base of a network written with ATen
/// functions (`at::conv2d`, `at::group_norm`, ...).
class Network : public Module {
 public:
  ~Network() override;
  NamedTensors parameters() const override { return parameters_; }
  NamedTensors buffers() const override { return buffers_; }
  void train(bool on) override { training_ = on; }
  bool is_training() const { return training_; }

 protected:
  /// Registers `value` under `name` and returns the handle to compute with.
  Tensor add_parameter(std::string name, Tensor value);
  Tensor add_buffer(std::string name, Tensor value);

 private:
  NamedTensors parameters_;
  NamedTensors buffers_;
  bool training_ = true;
};

}  // namespace casdm
