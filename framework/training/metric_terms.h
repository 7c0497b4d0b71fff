#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "casdm/metric_loss.h"
#include "framework/composition/kept_buffers.h"
#include "framework/composition/model.h"
#include "framework/composition/untouched.h"
#include "framework/distributed/world.h"
#include "framework/training/metric_selection.h"

namespace casdm {

/// A part of this process's batch: its t as the batch that heads are given has it, and what the host knows of all of
/// it.
struct MetricPart {
  Tensor t;
  std::int64_t first = 0;                     ///< image of it
  Tensor t_of_batch;                          ///< float64, on the CPU
  std::vector<std::uint64_t> seeds_of_batch;  ///< of the images
};

/// The `[[metrics]]` of an experiment, applied to whatever prediction the head hands over.
class ExperimentMetrics final : public MetricTerms {
 public:
  /// Makes the metrics and moves them to `device`. Throws ConfigError when a metric needs larger images or other
  /// channels than it would be given, or no timestep falls into its ranges; warns on stderr when its pixels have not
  /// the range it is made for. Keeps a reference to `schedule`.
  /// @param world  the processes that have each their part of a batch: a metric that compares the batch as a whole, or
  ///               remembers, is given all of it in each of them
  ExperimentMetrics(const LoadedExperiment& experiment, const NoiseScheduler& schedule, c10::Device device,
                    World& world = World::alone());

  /// Before the losses of a part of a batch, so that images are chosen without waiting for the device.
  void set_part(MetricPart part) { part_ = std::move(part); }

  /// What the metrics remember, its names as "<metric>.<buffer>"; handles to it.
  NamedTensors state() const;

  /// The buffers of each metric that remembers nothing, by its name.
  std::vector<std::pair<std::string, NamedTensors>> constants() const;

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
    MetricSelection selection;
    KeptBuffers<MetricLoss> memory;      ///< of one that has state
    std::optional<Untouched> constants;  ///< the buffers of one that has none
    mutable bool is_checked = false;     ///< whether its gradient was looked at
  };

  /// Which images of `batch` a metric is applied to, and what their gradients are multiplied by.
  struct Chosen {
    Tensor on_cpu;  ///< bool [B]
    double gradient_factor = 1;
  };
  Chosen chosen(const Term& term, const TrainingBatch& batch) const;
  void check_gradient(const Term& term, const Tensor& distance, const Tensor& prediction) const;
  Tensor distance(const Term& term, const Tensor& prediction, const Tensor& target, const MetricContext& context,
                  double gradient_factor) const;
  Tensor distances(const Term& term, const Tensor& prediction, const TrainingBatch& batch) const;
  Tensor distances_among_all(const Term& term, const Tensor& prediction, const TrainingBatch& batch) const;

  World& world_;
  std::vector<Term> terms_;
  MetricPart part_;
  mutable Tensor extreme_;  ///< see `take_extreme`
  bool has_remarked_ = false;
  mutable std::vector<std::string> remarks_;  ///< to be reported
};

}  // namespace casdm
