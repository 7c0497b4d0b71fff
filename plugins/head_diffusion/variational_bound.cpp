#include "variational_bound.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "head_network.h"

namespace casdm::head_diffusion {

namespace {

/// The cubic tanh form of the normal distribution function (error below 2e-4), which the reference numbers
/// of learned-variance models were made with.
Tensor normal_cdf(const Tensor& x) {
  return 0.5 * (1 + (std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x.pow(3))).tanh());
}

/// log P of the 8-bit levels `x` (in [-1, 1], 1/127.5 apart) under N(mean, exp(log_variance)); the outermost
/// levels take all that lies beyond them.
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

Tensor learned_log_variance(const NoiseScheduler& schedule, const Tensor& v, const Tensor& t) {
  std::vector<double> log_betas;
  for (const double beta : schedule.betas()) log_betas.push_back(std::log(beta));
  const Tensor low = NoiseScheduler::gather(schedule.posterior_log_variance_clipped(), t, v);
  const Tensor high = NoiseScheduler::gather(log_betas, t, v);
  const Tensor fraction = (v + 1) / 2;
  return fraction * high + (1 - fraction) * low;
}

Tensor variational_bound(const NoiseScheduler& schedule, const TrainingBatch& batch, const Tensor& x0,
                         const Tensor& v) {
  const Tensor log_variance = learned_log_variance(schedule, v, batch.t);
  const Tensor true_log_variance = NoiseScheduler::gather(schedule.posterior_log_variance_clipped(), batch.t, x0);

  // The means differ by c1 (x0 - model's x0): their x_t parts are the same.
  const Tensor c1 = NoiseScheduler::gather(schedule.posterior_mean_coef1(), batch.t, x0);
  const Tensor distance = (c1 * (batch.x0 - x0)).square();
  const Tensor kl = 0.5 * (log_variance - true_log_variance - 1 + (true_log_variance - log_variance).exp() +
                           distance * (-log_variance).exp());

  const Tensor mean = schedule.posterior_mean(x0, batch.x_t, batch.t);
  const Tensor nll = -discretised_log_likelihood(batch.x0, mean, log_variance);
  return at::where(batch.t == 0, mean_per_image(nll), mean_per_image(kl)) / std::numbers::ln2;
}

}  // namespace casdm::head_diffusion
