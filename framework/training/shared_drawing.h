#pragma once

#include <c10/core/Device.h>

#include <string>

#include "framework/composition/model.h"
#include "framework/distributed/world.h"
#include "framework/sampling/generate.h"
#include "framework/training/training_state.h"

namespace casdm {

/// Draws samples of the main average between two steps; each process draws its part of them.
class SharedDrawing {
 public:
  /// Keeps references to its arguments.
  SharedDrawing(const Model& model, const Experiment& options, TrainingState& state, c10::Device device, World& world)
      : model_(model), options_(options), state_(state), device_(device), world_(world) {}

  /// The images of `generate`, in the first process, inside `World::on_first`: the others are asked to `help`.
  /// Labels, channels, size, device, precision and cancellation are the training's own. Throws like `generate`;
  /// SamplingCancelled once any process is interrupted.
  Tensor draw(GenerateOptions options);

  /// Helps to draw, in the other processes.
  void help(const std::string& request);

  /// `try_first_step` of one image with the networks as they are, in this process alone.
  void try_first_step() const;

  /// Whether this process was interrupted, or another one while drawing.
  bool is_cancelled() const;

 private:
  void set_up(GenerateOptions& options) const;
  Tensor labels(std::int64_t first, std::int64_t count) const;
  Tensor drawn(const std::string& request, GenerateOptions options);

  const Model& model_;
  const Experiment& options_;
  TrainingState& state_;
  c10::Device device_;
  World& world_;
  bool was_cancelled_ = false;
};

}  // namespace casdm
