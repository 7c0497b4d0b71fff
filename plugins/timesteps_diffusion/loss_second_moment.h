#pragma once

#include <string>
#include <vector>

#include "casdm/log.h"
#include "casdm/timestep_sampler.h"
#include "distribution.h"

namespace casdm::timesteps_diffusion {

struct LossSecondMomentOptions {
  std::int64_t history_per_term = 10;
  double uniform_prob = 0.001;
  std::vector<std::string> terms;

  static void describe(Schema<LossSecondMomentOptions>& s);
};

/// Timesteps in proportion to the size of the loss there (Nichol & Dhariwal 2021, section 3.3, equation 19):
///
///     p(t) = (1 - uniform_prob) sqrt(E[L_t^2]) / sum_t' sqrt(E[L_t'^2]) + uniform_prob / T
///
/// with E over the last `history_per_term` losses at t. Until every t has that many, all are equally likely. An image
/// has weight 1 / (T p(t)), so the expectation of the objective stays that of uniform timesteps, with less variance if
/// the loss depends strongly on t, as the variational bound does.
///
/// L_t is the sum of weight * value over the terms named in `terms`, or over all terms. Each of them influences the
/// timesteps of every module: if there are metrics, name only the terms of the diffusion.
///
/// Buffers: `history` float64 [T, history_per_term], oldest first, and `counts` int64 [T].
class LossSecondMomentTimesteps : public NetworkOf<TimestepSampler> {
 public:
  using Options = LossSecondMomentOptions;

  LossSecondMomentTimesteps(const LossSecondMomentOptions& options, const Spec& spec);

  TimestepDraw draw(const std::vector<double>& u) const override;

  /// Throws ConfigError if a term of `terms` is not in the objective and nothing is remembered yet.
  void observe(const Tensor& t, const std::vector<LossTerm>& terms) override;

 private:
  bool is_warm() const;
  Distribution distribution() const;
  std::vector<double> losses(const std::vector<LossTerm>& terms, std::int64_t count) const;

  LossSecondMomentOptions options_;
  TimeRange times_;
  std::int64_t num_train_timesteps_;
  Tensor history_;
  Tensor counts_;
  Log log_{"loss_second_moment"};
};

}  // namespace casdm::timesteps_diffusion
