#pragma once

#include <memory>
#include <vector>

#include "casdm/sampler.h"
#include "framework/conformance/conformance.h"

namespace casdm::conformance {

/// A sampler on pixels N(0.3, 0.25), for which the ideal network is known in closed form:
///     eps = sigma_t (x_t - 0.3 alpha_t) / (0.25 alpha_t^2 + sigma_t^2)
/// In units of x_t's own distribution, z = (x_t - 0.3 alpha_t) / sqrt(0.25 alpha_t^2 + sigma_t^2), the exact flow
/// leaves every pixel where it is, and noise leaves z at N(0, 1). Both hold from the first evaluation to the last,
/// regardless of the timesteps in between, so the comparison is between these two.
class GaussianFlow {
 public:
  /// @param path   null: betas, so many that the discretisation does not matter
  /// @param steps  the option Sampler::steps_option; for a sampler without it, the number of betas
  GaussianFlow(const Subject& subject, std::shared_ptr<const NoiseScheduler> path, std::int64_t steps);

  std::size_t steps() const { return plan_.size(); }

  /// Whether any step draws noise.
  bool draws_noise() const;

  /// Whether a step depends on the estimates of earlier steps.
  bool keeps_history() const;

  /// The largest distance from the exact flow; for samplers with noise, of the mean from 0 and the variance from 1.
  double error() const;

 private:
  /// x at the evaluation `last`, starting from rows of z at the first evaluation, with the noise of each step, [rows,
  /// steps].
  Tensor run(const Tensor& z, const Tensor& noise, std::size_t last) const;

  /// `x` after one more step, with the estimate shifted by `bias`.
  Tensor step(const Tensor& x, std::size_t index, const Tensor& noise, double bias = 0) const;

  NoiseLevel level(std::size_t index) const { return schedule_->level(plan_[index].t); }

  /// Converts x as the model sees it at evaluation `index` to units of its distribution, and back.
  Tensor to_z(const Tensor& x, std::size_t index) const;
  Tensor from_z(const Tensor& z, std::size_t index) const;

  std::shared_ptr<const NoiseScheduler> schedule_;
  std::shared_ptr<Sampler> sampler_;
  std::vector<SampleStep> plan_;
};

}  // namespace casdm::conformance
