#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "casdm/cascade_head.h"
#include "casdm/choice.h"
#include "casdm/head_network.h"
#include "casdm/log.h"
#include "preconditioning.h"

namespace casdm::head_diffusion {

/// How the student's and the teacher's images are compared, in addition to the metrics.
enum class ConsistencyLoss { pseudo_huber, l2 };

constexpr auto choices_of(ConsistencyLoss) {
  using enum ConsistencyLoss;
  return choices<ConsistencyLoss>({{pseudo_huber, "pseudo_huber"}, {l2, "l2"}});
}

/// The weight of a pair of times: 1, or the reciprocal of their distance in noise-to-signal ratio.
enum class PairWeight { uniform, inverse_step };

constexpr auto choices_of(PairWeight) {
  using enum PairWeight;
  return choices<PairWeight>({{uniform, "uniform"}, {inverse_step, "inverse_step"}});
}

struct ConsistencyOptions {
  ComponentConfig theta;
  double sigma_data = 0.5;
  double teacher_decay = 0.9;
  std::int64_t first_steps = 10;
  std::int64_t last_steps = 160;
  ConsistencyLoss distance = ConsistencyLoss::pseudo_huber;
  double loss_weight = 1.0;
  PairWeight pair_weight = PairWeight::inverse_step;

  static void describe(Schema<ConsistencyOptions>& s);
};

/// Consistency training (Song et al. 2023; Song & Dhariwal 2023): a network f that maps every point of a path to the
/// clean image in one step. The student theta at t is compared with its own running average, "teacher", at a time s
/// with less noise, for the same image, noise and dropout:
///
///     L = w(t) d(f_theta(x_t, t), sg(f_teacher(x_s, s)))          metrics compare the same two images
///
/// f is preconditioned like EDM's network, so f(x, clean) = x. s is one step below t on a scale of N steps that are
/// equally long in (sigma/alpha)^(1/7), from the least noise to the most (Karras et al. 2022), and the clean image
/// below its end; N doubles from first_steps to last_steps during the training.
class ConsistencyHead : public CascadeHead {
 public:
  using Options = ConsistencyOptions;

  /// Throws ConfigError if the path has no signal left at its end, where the scale would be infinite.
  ConsistencyHead(const ConsistencyOptions& options, const Spec& spec);

  /// theta, and in training "teacher", its average.
  std::vector<NamedModule> modules() const override;
  Estimate estimate(const EstimateInput& input) override;
  /// Terms consistency, metric.*.
  Losses losses(const TrainingBatch& batch, const MetricTerms& metrics) override;

  /// N after `images_seen` of `total_images`.
  std::int64_t steps(std::int64_t images_seen, std::int64_t total_images) const;

 private:
  /// s for each t, float64.
  Tensor time_below(const Tensor& t, std::int64_t steps) const;
  LossTerm compared(const Tensor& student, const Tensor& teacher, const Tensor& step) const;

  ConsistencyOptions options_;
  std::shared_ptr<const NoiseScheduler> schedule_;
  Preconditioned scaled_;
  HeadNetwork student_;
  std::optional<HeadNetwork> teacher_;  ///< in training
  Log log_{"consistency"};
  double least_, most_;  ///< the ends of the scale, (sigma/alpha)^(1/7)
};

}  // namespace casdm::head_diffusion
