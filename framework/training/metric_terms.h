#pragma once

#include <memory>
#include <string>
#include <vector>

#include "casdm/metric_loss.h"
#include "framework/composition/model.h"

namespace casdm {

/// The `[[metrics]]` of an experiment, applied to whatever prediction the head hands over.
class ExperimentMetrics final : public MetricTerms {
 public:
  /// Makes the metrics and moves them to `device`. Throws ConfigError when a metric needs larger images or other
  /// channels than it would be given, or its input_range does not rise; warns on stderr when that is not the range the
  /// metric is made for.
  ExperimentMetrics(const LoadedExperiment& experiment, const NoiseScheduler& schedule, c10::Device device);

  /// Sets the number of images seen, on which warm-ups depend.
  void set_images(std::int64_t images) { images_ = images; }

  std::vector<LossTerm> evaluate(const Tensor& prediction, const TrainingBatch& batch,
                                 const std::string& module) const override;

  /// What the user should know of the predictions compared since the last call: that some lay outside [-1, 1].
  /// Said once; empty from then on, and while there is nothing to say. Waits for the device until then.
  std::string remark();

 private:
  struct Term {
    MetricOptions options;
    std::shared_ptr<MetricLoss> metric;
    std::string name;
  };

  Tensor distances(const Term& term, const Tensor& prediction, const TrainingBatch& batch) const;
  double weight(const Term& term) const;

  std::vector<Term> terms_;
  Tensor alphas_cumprod_;
  double num_train_timesteps_;
  std::int64_t images_ = 0;
  mutable Tensor extreme_;  ///< largest |prediction| of the last evaluation, until the remark is made
  bool has_remarked_ = false;
};

}  // namespace casdm
