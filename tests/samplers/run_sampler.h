#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "casdm/random.h"
#include "casdm/sampler.h"
#include "support/components.h"

/// Shared by the tests of samplers: schedules, closed-form models, and the host's sampling loop.
namespace casdm::testing {

/// A head's estimate at (x_t, t), t float64 [B].
using EstimateFn = std::function<Estimate(const Tensor& x_t, const Tensor& t)>;

inline std::shared_ptr<const BetaSchedule> make_schedule(const std::string& type, std::int64_t count,
                                                         const std::string& more = "") {
  return make_beta_schedule(type, "num_train_timesteps = " + std::to_string(count) + "\n" + more, {});
}

inline std::shared_ptr<Sampler> make_sampler(const std::string& type, const std::string& options,
                                             std::shared_ptr<const NoiseScheduler> schedule) {
  return make<Sampler>(type, options, {std::move(schedule), {}});
}

/// One step of `sampler` from x_t, with the estimate evaluated where the sampler asks for it.
inline Tensor run_step(Sampler& sampler, std::size_t index, const EstimateFn& estimate, const Tensor& x_t,
                       const Tensor& noise = {}) {
  const Tensor t = at::full({x_t.size(0)}, sampler.plan()[index].t, at::kDouble);
  return sampler.step({index, x_t, estimate(sampler.model_input(x_t, index), t), noise});
}

/// A whole trajectory from x_T ~ N(0, I), as the host runs it; step i that needs noise gets noise(i).
inline Tensor run_sampler_with(Sampler& sampler, const EstimateFn& estimate, const Tensor& x_T,
                               const std::function<Tensor(std::size_t)>& noise) {
  Tensor x = x_T * sampler.initial_scale();
  sampler.start();
  for (std::size_t i = 0; i < sampler.plan().size(); ++i) {
    x = run_step(sampler, i, estimate, x, sampler.plan()[i].needs_noise ? noise(i) : Tensor());
  }
  return x;
}

/// The same with the noise of step i drawn from (noise_seed, i).
inline Tensor run_sampler(Sampler& sampler, const EstimateFn& estimate, const Tensor& x_T,
                          std::uint64_t noise_seed = 0) {
  return run_sampler_with(sampler, estimate, x_T, [&](std::size_t i) {
    return at::empty_like(x_T).normal_(0, 1, make_generator(derive_seed(noise_seed, "noise", i)));
  });
}

/// The estimate of a head that predicts `eps`.
inline Estimate estimate_from_eps(const NoiseScheduler& schedule, const Tensor& x_t, const Tensor& t,
                                  const Tensor& eps) {
  Estimate estimate;
  estimate.eps = eps;
  estimate.x0_from_eps = schedule.predict_x0_from_eps(x_t, t, eps);
  return estimate;
}

/// The exact model for pixels N(mean, variance): E[eps | x_t], by method.md's oracle 6.
inline EstimateFn gaussian_model(std::shared_ptr<const NoiseScheduler> schedule, double mean = 0.3,
                                 double variance = 0.25) {
  return [=](const Tensor& x_t, const Tensor& t) {
    const Tensor alpha = per_image(schedule->alpha(t), x_t);
    const Tensor sigma = per_image(schedule->sigma(t), x_t);
    const Tensor total = variance * alpha.square() + sigma.square();
    Estimate estimate;
    estimate.eps = sigma * (x_t - mean * alpha) / total;
    estimate.x0_from_eps = (mean * sigma.square() + variance * alpha * x_t) / total;
    return estimate;
  };
}

/// The exact model for data that consist of the single image `x0`.
inline EstimateFn single_image_model(std::shared_ptr<const NoiseScheduler> schedule, const Tensor& x0) {
  return [=](const Tensor& x_t, const Tensor& t) {
    return estimate_from_eps(*schedule, x_t, t, schedule->predict_eps_from_x0(x_t, t, x0));
  };
}

}  // namespace casdm::testing
