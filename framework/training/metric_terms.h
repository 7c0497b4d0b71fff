#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "casdm/metric_loss.h"
#include "framework/composition/kept_buffers.h"
#include "framework/composition/model.h"
#include "framework/distributed/world.h"
#include "framework/loading/untouched.h"
#include "framework/training/metric_selection.h"

namespace casdm {

/// A part of this process's batch: its t as in the batch that heads get, and what the host knows about all of it.
struct MetricPart {
  Tensor t;
  std::int64_t first = 0;                     ///< index of the part's first image in the batch
  Tensor t_of_batch;                          ///< float64, on the CPU
  std::vector<std::uint64_t> seeds_of_batch;  ///< of the images
  /// A count that changes with the gradients of the networks; none: nothing is known.
  std::function<std::int64_t()> gradient_changes = {};
};

/// The `[[metrics]]` of an experiment, applied to whatever prediction the head passes.
class ExperimentMetrics final : public MetricTerms {
 public:
  /// Creates the metrics and moves them to `device`. Throws ConfigError if a metric needs larger images or other
  /// channels than it would get, or if no timestep is within its ranges; warns on stderr if pixels are not in the
  /// metric's range. Keeps a reference to `schedule`.
  /// @param world  processes that each have a part of a batch: a metric that compares the batch as a whole, or that has
  ///               state, gets the whole batch in each of them
  ExperimentMetrics(const LoadedExperiment& experiment, const NoiseScheduler& schedule, c10::Device device,
                    World& world = World::alone());

  /// To be called before the losses of each part of a batch, so that images are chosen without waiting for the device.
  void set_part(MetricPart part) { part_ = std::move(part); }

  /// Handles to the state of the metrics, with names "<metric>.<buffer>".
  NamedTensors state() const;

  /// Why a step with the metrics cannot be replayed on a device as it was recorded; empty: nothing is known.
  std::string why_not_replayable() const;

  /// The buffers of each metric without state, by the metric's name.
  std::vector<std::pair<std::string, NamedTensors>> constants() const;

  std::vector<LossTerm> evaluate(const Tensor& prediction, const TrainingBatch& batch,
                                 const std::string& module) const override;

  /// To be called with the losses of a step: remarks, once each, if the head has never called `evaluate`, or has left
  /// out a term that it returned.
  void check_use(const Losses& losses) const;

  /// "metric.<name>" of each.
  std::vector<std::string> terms() const;

  /// Whether the term "metric.<name>" has a weight, now or after its warm-up.
  bool has_weight(const std::string& term) const;

  /// The largest |prediction| since the last call, on the device; undefined once a remark about it was made. The caller
  /// passes its value to `observe_extreme` when it is known.
  Tensor take_extreme();
  void observe_extreme(double extreme);

  /// Lines to report, each once: that predictions have left [-1, 1], and, as found in the first batches, metrics whose
  /// distances have no gradient with respect to the prediction, or are the same in their own precision as in float32.
  /// Empty: nothing new.
  std::string remark();

 private:
  struct Term {
    MetricOptions options;
    Component<MetricLoss> metric;
    std::vector<ComponentConfig> components;  ///< the metric and those in it
    std::string name;
    MetricInfo info;
    MetricSelection selection;
    KeptBuffers<MetricLoss> memory;      ///< of a metric with state
    std::optional<Untouched> constants;  ///< the buffers of a metric without state
    /// In which its gradient is looked for: a fresh network may return images of one colour, where some metrics have
    /// none.
    mutable int batches_to_check = 4;
    mutable bool is_precision_checked = false;
  };

  /// The images of `batch` to which a metric is applied, and the factor for their gradients.
  struct Chosen {
    Tensor on_cpu;  ///< bool [B]
    double gradient_factor = 1;
  };
  Chosen chosen(const Term& term, const TrainingBatch& batch) const;
  /// Runs `work`, which computes a gradient of the metric; what it throws names the metric and the components in it.
  static Tensor run_gradient(const Term& term, const std::function<Tensor()>& work);
  void check_gradient(const Term& term, const Tensor& distance, const Tensor& prediction) const;
  void check_precision(const Term& term, const Tensor& distance, const Tensor& prediction, const Tensor& target,
                       const MetricContext& context) const;
  Tensor distance(const Term& term, const Tensor& prediction, const Tensor& target, const MetricContext& context,
                  double gradient_factor) const;
  Tensor distances(const Term& term, const Tensor& prediction, const TrainingBatch& batch) const;
  Tensor distances_among_all(const Term& term, const Tensor& prediction, const TrainingBatch& batch) const;

  World& world_;
  std::vector<Term> terms_;
  MetricPart part_;
  mutable Tensor extreme_;  ///< see `take_extreme`
  bool has_remarked_ = false;
  mutable std::vector<std::string> remarks_;  ///< not reported yet
  mutable bool is_asked_ = false;             ///< by the head, in some step
  mutable std::vector<LossTerm> handed_out_;  ///< in the present part of a step, those that train
  mutable std::set<std::string> looked_for_;  ///< terms, in the losses
  mutable std::set<std::string> detached_;    ///< metrics of this step that got a prediction without a gradient
  mutable std::set<std::string> attached_;    ///< metrics that have got one with a gradient, or of which this was said
};

}  // namespace casdm
