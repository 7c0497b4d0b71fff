#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "casdm/metric_loss.h"
#include "framework/composition/kept_buffers.h"
#include "framework/composition/model.h"
#include "framework/composition/untouched.h"
#include "framework/distributed/world.h"

namespace casdm {

/// The `[[metrics]]` of an experiment, applied to whatever prediction the head hands over.
class ExperimentMetrics final : public MetricTerms {
 public:
  /// Makes the metrics and moves them to `device`. Throws ConfigError when a metric needs larger images or other
  /// channels than it would be given, or no timestep falls into its t_range; warns on stderr when that is not the range
  /// the metric is made for.
  /// @param world  the processes that have each their part of a batch: a metric that compares the batch as a whole, or
  ///               remembers, is given all of it in each of them
  ExperimentMetrics(const LoadedExperiment& experiment, const NoiseScheduler& schedule, c10::Device device,
                    World& world = World::alone());

  /// Before the losses of a part of a batch: t of the part with its copy on the CPU, so that a range of t is chosen
  /// without waiting for the device.
  void set_part(const Tensor& t, const Tensor& t_on_cpu);

  /// What the metrics remember, its names as "<metric>.<buffer>"; handles to it.
  NamedTensors state() const;

  std::vector<LossTerm> evaluate(const Tensor& prediction, const TrainingBatch& batch,
                                 const std::string& module) const override;

  /// Whether the term "metric.<name>" has a weight, now or after its warm-up.
  bool has_weight(const std::string& term) const;

  /// The largest |prediction| since the last call, on the device; undefined once a remark on it was made. The caller
  /// tells `observe_extreme` its value when it is known.
  Tensor take_extreme();
  void observe_extreme(double extreme);

  /// Lines to report, each once: that predictions have left [-1, 1], and metrics whose distances carry no gradient to
  /// the prediction, found at the first batch. Empty: nothing new.
  std::string remark();

 private:
  struct Term {
    MetricOptions options;
    Component<MetricLoss> metric;
    std::string name;
    MetricInfo info;
    KeptBuffers<MetricLoss> memory;      ///< of one that has state
    std::optional<Untouched> constants;  ///< the buffers of one that has none
    mutable bool is_checked = false;     ///< whether its gradient was looked at
  };

  Tensor on_cpu(const Tensor& t) const;
  void check_gradient(const Term& term, const Tensor& distance, const Tensor& prediction) const;
  Tensor distances(const Term& term, const Tensor& prediction, const TrainingBatch& batch) const;
  Tensor distances_among_all(const Term& term, const Tensor& prediction, const TrainingBatch& batch) const;
  /// float64 [B] on the CPU: where the images lie between clean and most noise.
  Tensor fraction(const Tensor& t) const;

  World& world_;
  std::vector<Term> terms_;
  TimeRange times_;
  Tensor t_;  ///< of the part
  Tensor t_on_cpu_;
  mutable Tensor extreme_;  ///< see `take_extreme`
  bool has_remarked_ = false;
  mutable std::vector<std::string> remarks_;  ///< to be reported
};

}  // namespace casdm
