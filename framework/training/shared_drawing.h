#pragma once

#include <c10/core/Device.h>

#include <string>

#include "framework/composition/model.h"
#include "framework/distributed/world.h"
#include "framework/sampling/generate.h"
#include "framework/training/training_state.h"

namespace casdm {

/// Draws samples of the main average between two steps, each process its part of them.
class SharedDrawing {
 public:
  /// Keeps references.
  SharedDrawing(const Model& model, const Experiment& options, TrainingState& state, c10::Device device, World& world)
      : model_(model), options_(options), state_(state), device_(device), world_(world) {}

  /// The images of `generate`, in the first process, within `World::on_first`: the others are asked to `help`. The
  /// average is in the place of the weights already (averaged_weights.h). Channels, size, device, precision and
  /// cancellation are the training's own. Throws as `generate` does; SamplingCancelled once any process is interrupted.
  Tensor draw(GenerateOptions options);

  /// In the others.
  void help(const std::string& request);

  /// Whether this process or, in the midst of a drawing, another one was interrupted.
  bool is_cancelled() const;

 private:
  Tensor drawn(const std::string& request, GenerateOptions options);

  const Model& model_;
  const Experiment& options_;
  TrainingState& state_;
  c10::Device device_;
  World& world_;
  bool was_cancelled_ = false;
};

}  // namespace casdm
