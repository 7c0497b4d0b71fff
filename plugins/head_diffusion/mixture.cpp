#include "mixture.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "casdm/sampler.h"
#include "head_network.h"

namespace casdm::head_diffusion {

namespace {

/// Coefficient of x0 in mu: c1 of the DDPM posterior, or that of the DDIM step t -> t-1 with eta = 0,
///     mu(h) = sqrt(A_{t-1}) h + sqrt(1-A_{t-1}) (x_t - sqrt(A_t) h) / sqrt(1-A_t)    (Song et al. 2021, eq. 12).
std::vector<double> x0_coefficient(const NoiseScheduler& schedule, const std::string& space) {
  if (space == "ddpm") return schedule.posterior_mean_coef1();
  std::vector<double> result;
  for (std::size_t t = 0; t < schedule.betas().size(); ++t) {
    const double a = schedule.alphas_cumprod()[t];
    const double a_prev = schedule.alphas_cumprod_prev()[t];
    result.push_back(std::sqrt(a_prev) - std::sqrt((1 - a_prev) * a / (1 - a)));
  }
  return result;
}

std::vector<double> squared(std::vector<double> values) {
  for (double& value : values) value *= value;
  return values;
}

}  // namespace

void LossWeights::describe(Schema<LossWeights>& s) {
  s.option("eps", &LossWeights::eps, "Of |eps - eps'|^2.").at_least(0);
  s.option("x0", &LossWeights::x0, "Of |x0 - x0'|^2.").at_least(0);
  s.option("mu", &LossWeights::mu, "Of the mixture's mean, which trains the gate.").at_least(0);
}

Mixture::Mixture(const MixtureOptions& options, std::int64_t channels, std::shared_ptr<const NoiseScheduler> schedule)
    : options_(options), channels_(channels), schedule_(std::move(schedule)) {
  mu_scale_ = options_.mu_weight == "inv_c1sq" ? std::vector<double>(schedule_->betas().size(), 1.0)
                                               : squared(x0_coefficient(*schedule_, options_.mu_space));
}

std::int64_t Mixture::gate_channels() const { return options_.gate_shape == "channel" ? channels_ : 1; }

Tensor Mixture::gate(const Tensor& output) const {
  const Tensor g = options_.gate_shape == "spatial" ? output : output.mean({2, 3}, /*keepdim=*/true);
  if (options_.gate_activation == "sigmoid") return g.sigmoid();
  if (options_.gate_activation == "clamp") return (g + 0.5).clamp(0, 1);
  return g + 0.5;
}

Tensor Mixture::mu_loss(const Estimate& estimate, const TrainingBatch& batch) const {
  // Every mu is linear in the clean image with the same x_t part, so mu(x0) - mixed mu = c (x0 - mixed x0). This form
  // has no difference of nearly equal numbers: c falls to 1e-4 while the x_t part stays near 1. The clean images are
  // not clipped.
  const Tensor& r = estimate.gate;
  const Tensor mixed = r * estimate.x0.detach() + (1 - r) * estimate.x0_from_eps.detach();
  const Tensor error = squared_error(batch.x0, mixed);
  return NoiseScheduler::gather(mu_scale_, batch.t, error) * error;
}

Losses Mixture::losses(const Estimate& estimate, const TrainingBatch& batch, const MetricTerms& metrics,
                       const std::string& eps_module, const std::string& x0_module) const {
  Losses losses;
  losses.terms = {
      {"eps", squared_error(batch.eps, estimate.eps), options_.weights.eps, eps_module},
      {"x0", squared_error(batch.x0, estimate.x0), options_.weights.x0, x0_module},
      {"mu", mu_loss(estimate, batch), options_.weights.mu, x0_module},
  };
  for (LossTerm& term : metrics.evaluate(estimate.x0, batch, x0_module)) losses.terms.push_back(std::move(term));

  const at::NoGradGuard no_grad;
  losses.statistics = {
      {"gate", mean_per_image(estimate.gate)},
      {"error.x0_from_eps", squared_error(batch.x0, estimate.x0_from_eps.clamp(-1, 1))},
      {"error.x0", squared_error(batch.x0, estimate.x0.clamp(-1, 1))},
      {"error.mixture", squared_error(batch.x0, mixed_x0(estimate, Clip::each))},
  };
  return losses;
}

}  // namespace casdm::head_diffusion
