#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/composition/model.h"
#include "framework/distributed/batch_share.h"
#include "framework/training/batch_draws.h"
#include "framework/training/metric_terms.h"
#include "framework/training/training_state.h"

namespace casdm {

/// One optimiser step: noised images, the head's losses and their gradients, clipping, update.
class TrainingStep {
 public:
  /// Keeps references to all of them. Throws ConfigError when the device lacks the precision.
  /// @param is_interrupted  asked before each part of a batch but the first; the same in all processes
  /// @param world  the processes that take the step together, each with its part of the batch: their gradients are
  ///               added, and what the step records and decides is of the whole batch
  TrainingStep(const LoadedExperiment& experiment, const Model& model, ExperimentMetrics& metrics, TrainingState& state,
               c10::Device device, std::function<bool()> is_interrupted, World& world = World::alone());

  /// Takes the step with this process's part of the batch; a module that gets no gradient in it stays as it is. Once
  /// interrupted between two parts of the batch it returns nothing, and the state is what it was; so it is after what
  /// is thrown before the update: NotFinite when a loss or gradient is not finite (fp16 skips the module's step
  /// instead), PluginError when a component breaks its contract.
  std::optional<StepRecord> run(const ImageBatch& images);

  /// Lines to report, each once: modules that no term with a weight trains at the first step. Empty: nothing new.
  std::string remark() { return std::exchange(untrained_, ""); }

 private:
  DrawnBatch noised(const ImageBatch& images) const;
  TrainingBatch part_of(const DrawnBatch& drawn, std::int64_t part) const;
  Losses losses(const DrawnBatch& drawn, std::int64_t part) const;
  void backward(const std::vector<LossTerm>& terms, const DrawnBatch& drawn, std::int64_t part,
                bool keeps_graph = false) const;
  bool wants_term_norms() const;
  bool gradients(const DrawnBatch& drawn, StepRecord& record);
  void sum_gradients();
  void note_untrained(const StepRecord& record);
  void check(const StepRecord& record, const DrawnBatch& drawn);
  std::vector<std::string> terms_without_finite_gradient(const DrawnBatch& drawn);
  void update(const StepRecord& record);

  const Experiment& options_;
  const Model& model_;
  ExperimentMetrics& metrics_;
  TrainingState& state_;
  c10::Device device_;
  std::function<bool()> is_interrupted_;
  World& world_;
  BatchShare share_;
  std::int64_t part_size_;
  std::vector<OptimizerOptions> optimizers_;  ///< by module
  std::vector<Tensor> norms_;                 ///< of the gradients, by module, on the device
  bool is_first_ = true;
  std::string untrained_;  ///< to be reported
};

/// What each module's gradients are multiplied by to have at most the norm clip_norm, each or jointly.
/// @param modules  one for each norm
std::vector<Tensor> clipping_factors(const std::vector<Tensor>& norms, const std::vector<OptimizerOptions>& modules);

}  // namespace casdm
