#pragma once

#include <cstdint>
#include <string>

#include "casdm/cascade_head.h"
#include "framework/config/experiment.h"

namespace casdm {

/// Everything the training keeps for one module of the head: weights, gradients, Adam's moments
/// and the moving average.
///
/// The parameters are views into one flat tensor (so are the gradients, moments and average), so
/// that norm, clip, optimiser and average are one operation each, whatever the number of layers.
/// Nothing here depends on any other module.
class ModuleState {
 public:
  /// Moves the module to `device` and flattens it.
  ModuleState(NamedModule module, const OptimizerOptions& optimizer, const EmaOptions& ema, c10::Device device);

  const std::string& name() const { return module_.name; }
  const Module& module() const { return *module_.module; }
  bool is_trainable() const { return module_.is_trainable; }

  void zero_grad();
  Tensor grad_norm() const;  ///< L2 norm of all gradients, scalar, before clipping
  /// One Adam step with the gradients times `scale` (scalar tensor).
  void optimizer_step(double learning_rate, const Tensor& scale);
  /// ema += (1 - decay) (weights - ema); `step` counts from 1.
  void update_ema(std::int64_t step);

  /// Exchanges weights and their average; twice is nothing.
  void swap_ema();

  /// The state by name; handles to it: copying into them restores it.
  NamedTensors weights() const;
  NamedTensors average() const;
  NamedTensors moments() const;

  /// Starts the average and the moments anew from the weights.
  void reset();

 private:
  NamedTensors views(const Tensor& flat) const;

  NamedModule module_;
  OptimizerOptions optimizer_;
  EmaOptions ema_options_;
  Tensor weights_;
  Tensor gradients_;
  Tensor exp_avg_;
  Tensor exp_avg_sq_;
  Tensor ema_;
  Tensor adam_step_;
};

}  // namespace casdm
