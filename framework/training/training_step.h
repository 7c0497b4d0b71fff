#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/composition/model.h"
#include "framework/distributed/batch_share.h"
#include "framework/training/batch_draws.h"
#include "framework/training/gradient_exchange.h"
#include "framework/training/metric_terms.h"
#include "framework/training/step_graph.h"
#include "framework/training/tensor_memory.h"
#include "framework/training/training_state.h"

namespace casdm {

/// One optimizer step: noised images, the head's losses and their gradients, clipping, update.
class TrainingStep {
 public:
  /// Keeps references to its arguments. Throws ConfigError if the device does not support the precision, and Error if
  /// steps are to be replayed from a graph and cannot be.
  /// @param is_interrupted  called before each part of a batch but the first; must return the same in all processes
  /// @param world           the processes that take the step together, each with its part of the batch: their gradients
  ///                        are summed, and the step's records and decisions are for the whole batch
  TrainingStep(const LoadedExperiment& experiment, const Model& model, ExperimentMetrics& metrics, TrainingState& state,
               c10::Device device, std::function<bool()> is_interrupted, World& world = World::alone());

  /// Takes the step with this process's part of the batch; a module that gets no gradient stays unchanged. If
  /// interrupted between two parts of the batch, returns nothing and leaves the state as it was, but for buffers that a
  /// network changes. The same holds for exceptions before the update: NotFinite if a loss or gradient is not finite
  /// (in fp16 the module's step is skipped instead), PluginError if a component violates its contract.
  ///
  /// On a GPU the host need not know the numbers of a step before it queues the update: the device itself leaves the
  /// state as it is if they are not finite. They are then read in the next step, once its work is queued, or by
  /// `settle`. Until then the state counts the step as taken, and the record has only what the host has decided.
  std::optional<StepRecord> run(const ImageBatch& images);

  /// Reads the numbers of the last step if they are not read yet; to be called before anything else uses the state.
  /// Throws NotFinite as `run` does; then the step is not taken.
  /// @param with_others  whether all processes call it; otherwise, after a failure, the error says what this one knows
  void settle(bool with_others = true);

  /// Lines to report, each once: modules that no term with a weight trains, as found in the first step; whether steps
  /// are replayed from a graph. Empty: nothing new.
  std::string remark();

 private:
  DrawnBatch noised(const ImageBatch& images) const;
  TrainingBatch part_of(const DrawnBatch& drawn, std::int64_t part) const;
  Losses losses(const DrawnBatch& drawn, std::int64_t part) const;
  void look_for_strays(const Losses& losses) const;
  enum class Pass { keeps_graph, plain, last };
  void backward(const std::vector<LossTerm>& terms, const DrawnBatch& drawn, std::int64_t part, Pass pass);
  bool wants_term_norms() const;
  bool gradients(const DrawnBatch& drawn, StepRecord& record);
  void clear_gradients();
  bool add_gradients(const DrawnBatch& drawn, StepRecord& record);
  void sum_gradients(StepRecord& record);
  void note_untrained(const StepRecord& record);
  bool reads_late();
  void read_last(bool with_others);
  void read(StepRecord& record, const DrawnBatch& drawn, bool with_others);
  void remember(const StepRecord& record);
  void check(const StepRecord& record, const DrawnBatch& drawn, bool with_others);
  std::vector<std::string> terms_without_finite_gradient(const DrawnBatch& drawn);
  void update(const StepRecord& record, const Tensor& defect = Tensor());

  /// A step whose update is queued.
  struct Unread {
    StepRecord record;
    DrawnBatch drawn;
    std::unique_ptr<TensorMemory> memory;
  };

  const LoadedExperiment& experiment_;
  const Experiment& options_;
  const Model& model_;
  ExperimentMetrics& metrics_;
  TrainingState& state_;
  c10::Device device_;
  std::function<bool()> is_interrupted_;
  World& world_;
  BatchShare share_;
  std::int64_t part_size_;
  GradientExchange exchange_;
  StepGraph graph_;
  std::vector<OptimizerOptions> optimizers_;  ///< by module
  std::vector<Tensor> norms_;                 ///< of the gradients, by module, on the device
  bool is_first_ = true;
  mutable bool has_computed_ = false;                        ///< losses, at least once
  mutable std::string stray_;                                ///< a remark about tensors of no module, not reported yet
  mutable std::optional<std::vector<Tensor>> stray_leaves_;  ///< of the first losses, until they are compared
  bool can_withhold_ = false;  ///< whether the optimizers of all processes can leave out a step
  std::string untrained_;      ///< not reported yet
  std::optional<Unread> unread_;
};

/// The factors for each module's gradients that limit their norm to clip_norm, per module or jointly.
/// @param modules  one for each norm
std::vector<Tensor> clipping_factors(const std::vector<Tensor>& norms, const std::vector<OptimizerOptions>& modules);

}  // namespace casdm
