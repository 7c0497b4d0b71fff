#include "casdm/noise_scheduler.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

NoiseScheduler::NoiseScheduler(std::vector<double> betas) : betas_(std::move(betas)) {
  if (betas_.empty()) throw ConfigError("a noise schedule needs at least one timestep");
  double product = 1.0;
  double noise = 0.0;  // 1 - product, added up: the difference would cancel where betas are small
  for (std::size_t i = 0; i < betas_.size(); ++i) {
    const double beta = betas_[i];
    if (!(beta > 0 && beta <= 1)) throw ConfigError(text("beta of timestep ", i, " is ", beta, ", not in (0, 1]"));
    const double previous = product;
    const double previous_noise = noise;
    product *= 1 - beta;
    if (product == 1) throw ConfigError(text("beta of timestep ", i, " is ", beta, ", too small to change anything"));
    noise = product > 0 ? previous_noise + previous * beta : 1.0;
    alphas_cumprod_.push_back(product);
    alphas_cumprod_prev_.push_back(previous);
    sqrt_alphas_cumprod_.push_back(std::sqrt(product));
    sqrt_one_minus_alphas_cumprod_.push_back(std::sqrt(noise));
    posterior_variance_.push_back(beta * previous_noise / noise);
    posterior_mean_coef1_.push_back(std::sqrt(previous) * beta / noise);
    posterior_mean_coef2_.push_back(std::sqrt(1 - beta) * previous_noise / noise);
  }
  for (std::size_t i = 0; i < betas_.size(); ++i) {
    const double variance = i > 0 || betas_.size() == 1 ? posterior_variance_[i] : posterior_variance_[1];
    posterior_log_variance_clipped_.push_back(std::log(std::max(variance, 1e-20)));
  }
}

NoiseScheduler::~NoiseScheduler() = default;

Tensor NoiseScheduler::gather(const std::vector<double>& table, const Tensor& t, const Tensor& like) {
  const Tensor values = at::tensor(table, at::kDouble);
  const Tensor position = t.to(at::kCPU);
  Tensor gathered;
  if (at::isIntegralType(position.scalar_type(), false)) {
    gathered = values.index_select(0, position.to(at::kLong));
  } else {
    const Tensor exact = position.to(at::kDouble).clamp(0, static_cast<double>(table.size() - 1));
    const Tensor below = exact.floor();
    const Tensor above = exact.ceil();
    gathered = at::lerp(values.index_select(0, below.to(at::kLong)), values.index_select(0, above.to(at::kLong)),
                        exact - below);
  }
  std::vector<std::int64_t> shape(static_cast<std::size_t>(like.dim()), 1);
  shape[0] = gathered.size(0);
  return gathered.reshape(shape).to(like.options().requires_grad(false));
}

Tensor NoiseScheduler::q_sample(const Tensor& x0, const Tensor& t, const Tensor& eps) const {
  return gather(sqrt_alphas_cumprod_, t, x0) * x0 + gather(sqrt_one_minus_alphas_cumprod_, t, x0) * eps;
}

// Where A_t = 0 (a beta of 1: zero terminal SNR) x_t is eps and tells nothing of x0: the result is 0, the middle
// of the images' range, instead of 0/0. All else here is defined there: eps = x_t, x0 = -v, mu~ = sqrt(A_{t-1}) x0.
Tensor NoiseScheduler::predict_x0_from_eps(const Tensor& x_t, const Tensor& t, const Tensor& eps) const {
  const Tensor signal = gather(sqrt_alphas_cumprod_, t, x_t);
  const Tensor scaled = x_t - gather(sqrt_one_minus_alphas_cumprod_, t, x_t) * eps;
  if (alphas_cumprod_.back() > 0) return scaled / signal;
  return at::where(signal > 0, scaled / signal.clamp_min(1e-30), at::zeros({}, scaled.options()));
}

Tensor NoiseScheduler::predict_eps_from_x0(const Tensor& x_t, const Tensor& t, const Tensor& x0) const {
  return (x_t - gather(sqrt_alphas_cumprod_, t, x_t) * x0) / gather(sqrt_one_minus_alphas_cumprod_, t, x_t);
}

Tensor NoiseScheduler::velocity(const Tensor& x0, const Tensor& t, const Tensor& eps) const {
  return gather(sqrt_alphas_cumprod_, t, x0) * eps - gather(sqrt_one_minus_alphas_cumprod_, t, x0) * x0;
}

Tensor NoiseScheduler::predict_x0_from_v(const Tensor& x_t, const Tensor& t, const Tensor& v) const {
  return gather(sqrt_alphas_cumprod_, t, x_t) * x_t - gather(sqrt_one_minus_alphas_cumprod_, t, x_t) * v;
}

Tensor NoiseScheduler::posterior_mean(const Tensor& x0, const Tensor& x_t, const Tensor& t) const {
  return gather(posterior_mean_coef1_, t, x_t) * x0 + gather(posterior_mean_coef2_, t, x_t) * x_t;
}

NoiseScheduler respaced(const NoiseScheduler& schedule, const std::vector<std::int64_t>& timesteps) {
  std::vector<double> betas;
  double previous = 1.0;
  std::int64_t last = -1;
  if (timesteps.empty()) throw ConfigError("a respaced schedule must keep at least one timestep");
  for (const std::int64_t t : timesteps) {
    if (t <= last || t >= schedule.num_train_timesteps()) {
      throw ConfigError(
          text("timesteps must rise within 0..", schedule.num_train_timesteps() - 1, ", got ", t, " after ", last));
    }
    if (previous == 0)
      throw ConfigError(text("timestep ", t, " follows one with A = 0: no process leads on from there"));
    const double kept = schedule.alphas_cumprod()[static_cast<std::size_t>(t)];
    betas.push_back(1 - kept / previous);
    previous = kept;
    last = t;
  }
  return NoiseScheduler(std::move(betas));
}

}  // namespace casdm
