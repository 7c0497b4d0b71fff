#include "variational_bound.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "casdm/head_network.h"

namespace casdm::head_diffusion {

namespace {

/// The cubic tanh form of the normal distribution function (error below 2e-4), with which the reference numbers of
/// learned-variance models were computed.
Tensor normal_cdf(const Tensor& x) {
  return 0.5 * (1 + (std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x.pow(3))).tanh());
}

/// log P of the 8-bit levels `x` (in [-1, 1], 1/127.5 apart) under N(mean, exp(log_variance)); the outermost levels
/// include everything beyond them.
Tensor discretised_log_likelihood(const Tensor& x, const Tensor& mean, const Tensor& log_variance) {
  constexpr double kSmallest = 1e-12;
  const Tensor inverse_deviation = (-0.5 * log_variance).exp();
  const Tensor below_upper = normal_cdf((x - mean + 1.0 / 255) * inverse_deviation);
  const Tensor below_lower = normal_cdf((x - mean - 1.0 / 255) * inverse_deviation);
  const Tensor probability =
      at::where(x < -0.999, below_upper, at::where(x > 0.999, 1 - below_lower, below_upper - below_lower));
  return probability.clamp_min(kSmallest).log();
}

}  // namespace

namespace {

/// log of the posterior's variance for the step from t; for the last step, where it is 0, that of the step before, and
/// on a path that is not whole, log 1e-20.
Tensor clipped_log_variance(const NoiseScheduler& schedule, const Tensor& t) {
  const TimeRange times = schedule.range();
  const Tensor is_last = schedule.previous(t) == times.clean;
  const Tensor at_t = times.is_whole ? (t + is_last.to(t.scalar_type())).clamp_max(times.last) : t;
  return schedule.posterior(at_t, schedule.previous(at_t)).variance.clamp_min(1e-20).log();
}

}  // namespace

Tensor learned_log_variance(const NoiseScheduler& schedule, const Tensor& v, const Tensor& t) {
  const Tensor low = per_image(clipped_log_variance(schedule, t), v);
  const Tensor high = per_image(schedule.posterior(t, schedule.previous(t)).step_variance.log(), v);
  const Tensor fraction = (v + 1) / 2;
  return fraction * high + (1 - fraction) * low;
}

Tensor variational_bound(const NoiseScheduler& schedule, const TrainingBatch& batch, const Tensor& x0,
                         const Tensor& v) {
  const Tensor log_variance = learned_log_variance(schedule, v, batch.t);
  const Tensor true_log_variance = per_image(clipped_log_variance(schedule, batch.t), x0);
  const Tensor before = schedule.previous(batch.t);
  const Posterior posterior = schedule.posterior(batch.t, before);

  // The means differ by c1 (x0 - model's x0): their x_t parts are the same.
  const Tensor c1 = per_image(posterior.of_x0, x0);
  const Tensor distance = (c1 * (batch.x0 - x0)).square();
  const Tensor kl = 0.5 * (log_variance - true_log_variance - 1 + (true_log_variance - log_variance).exp() +
                           distance * (-log_variance).exp());

  const Tensor mean = c1 * x0 + per_image(posterior.of_x_t, x0) * batch.x_t;
  const Tensor nll = -discretised_log_likelihood(batch.x0, mean, log_variance);
  return at::where(before == schedule.range().clean, mean_per_image(nll), mean_per_image(kl)) / std::numbers::ln2;
}

}  // namespace casdm::head_diffusion
