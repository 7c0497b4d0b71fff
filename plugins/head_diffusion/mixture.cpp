#include "mixture.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "casdm/estimate.h"
#include "casdm/head_network.h"

namespace casdm::head_diffusion {

namespace {

/// Coefficient of x0 in mu, [B]: c1 of the DDPM posterior from t to the time before it, s, or that of the DDIM step
/// t -> s with eta = 0,
///     mu(h) = alpha_s h + sigma_s (x_t - alpha_t h) / sigma_t    (Song et al. 2021, eq. 12),
/// whose alpha_s - sigma_s alpha_t / sigma_t is alpha_s (1 - sqrt(SNR_t / SNR_s)).
Tensor x0_coefficient(const NoiseScheduler& schedule, const Tensor& t, MuSpace space) {
  const Tensor s = schedule.previous(t);
  if (space == MuSpace::ddpm) return schedule.posterior(t, s).of_x0;
  return -schedule.alpha(s) * ((schedule.log_snr(t) - schedule.log_snr(s)) / 2).expm1();
}

}  // namespace

void LossWeights::describe(Schema<LossWeights>& s) {
  s.option("eps", &LossWeights::eps, "Of |eps - eps'|^2.").at_least(0).not_with("head.train_mode", {"frozen_theta"});
  s.option("x0", &LossWeights::x0, "Of |x0 - x0'|^2.").at_least(0);
  s.option("mu", &LossWeights::mu, "Factor of the loss of the mixture's mean, which trains the gate.").at_least(0);
}

Mixture::Mixture(const MixtureOptions& options, std::int64_t channels, std::shared_ptr<const NoiseScheduler> schedule)
    : options_(options), channels_(channels), schedule_(std::move(schedule)) {}

std::int64_t Mixture::gate_channels() const { return options_.gate_shape == GateShape::channel ? channels_ : 1; }

Tensor Mixture::gate(const Tensor& output) const {
  const Tensor g = options_.gate_shape == GateShape::spatial ? output : output.mean({2, 3}, /*keepdim=*/true);
  if (options_.gate_activation == GateActivation::sigmoid) return g.sigmoid();
  if (options_.gate_activation == GateActivation::clamp) return (g + 0.5).clamp(0, 1);
  return g + 0.5;
}

Tensor Mixture::mu_loss(const Estimate& estimate, const TrainingBatch& batch) const {
  // Every mu is linear in the clean image with the same x_t part, so mu(x0) - mixed mu = c (x0 - mixed x0). This form
  // avoids a difference of nearly equal numbers: c falls to 1e-4 while the x_t part stays near 1. The clean images are
  // not clipped.
  const Tensor& r = estimate.gate;
  const Tensor mixed = r * estimate.x0.detach() + (1 - r) * estimate.x0_from_eps.detach();
  const Tensor error = squared_error(batch.x0, mixed);
  if (options_.mu_weight == MuWeight::inv_c1sq) return error;
  return per_image(x0_coefficient(*schedule_, batch.t, options_.mu_space).square(), error) * error;
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
