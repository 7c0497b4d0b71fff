#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "framework/composition/model.h"
#include "framework/device/device_graph.h"
#include "framework/training/batch_draws.h"
#include "framework/training/metric_terms.h"
#include "framework/training/training_state.h"

namespace casdm {

/// The losses and gradients of a training step as a graph of the device: after a few steps one is recorded, and then
/// replayed with the images of each step by one call of the host, which otherwise queues every kernel.
///
/// A replay runs no code of components. What the host draws and decides must therefore be the same in every step:
/// images, t, noise, labels and the seeds of dropout are tensors that are filled anew; whatever else follows from the
/// step or from the seeds would stay as it was. So the first replay is only compared: with the step itself, and
/// with the step as it would be at the end of the training. Unless losses and norms of gradients agree, no step is
/// replayed, and the difference is named.
class StepGraph {
 public:
  /// What a step computes.
  struct Work {
    std::function<void()> begin;  ///< sets the gradients to 0; not recorded
    /// Adds the gradients, and fills in the record what they yield.
    std::function<void(const DrawnBatch& drawn, StepRecord& record)> compute;
  };

  /// Keeps references to its arguments. Throws ConfigError if `train.cuda_graph` is "on" and the experiment allows
  /// none.
  StepGraph(const Experiment& options, const Model& model, const ExperimentMetrics& metrics, TrainingState& state,
            c10::Device device, const World& world, Work work);

  /// Does the work for one step, by a replay if there is a graph. Throws what the work throws; and Error if
  /// `train.cuda_graph` is "on" and the step turns out not to be replayable.
  void run(const DrawnBatch& drawn, StepRecord& record);

  /// A line to report, once: from which step on steps are replayed, or why they are not. Empty: nothing new.
  std::string remark() { return std::exchange(remark_, ""); }

 private:
  /// The tensors of a batch that the graph reads.
  struct Inputs {
    DrawnBatch drawn;
    std::vector<Tensor> seeds;  ///< of each module's dropout
  };

  void compute(const DrawnBatch& drawn, StepRecord& record) const;
  void record(const DrawnBatch& drawn);
  bool fits(const DrawnBatch& drawn) const;
  void replay(const DrawnBatch& drawn, StepRecord& record);
  void prove(const DrawnBatch& drawn, StepRecord& record);
  std::string difference(const DrawnBatch& drawn, StepRecord& record);
  void refuse(const std::string& reason);
  void forget();
  NamedTensors changing() const;

  const Experiment& options_;
  const Model& model_;
  const ExperimentMetrics& metrics_;
  TrainingState& state_;
  c10::Device device_;
  Work work_;
  bool is_possible_;
  std::int64_t steady_steps_ = 0;
  Inputs inputs_;
  std::unique_ptr<DeviceGraph> graph_;
  StepRecord recorded_;           ///< of the graph, on the device
  std::vector<bool> is_reached_;  ///< by the gradients, for each module
  bool is_proved_ = false;
  std::string remark_;
};

}  // namespace casdm
