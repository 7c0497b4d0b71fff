#pragma once

#include <vector>

#include "noise_levels.h"

namespace casdm::sampler_diffusion {

struct EdmOptions : NoiseLevelOptions {
  static void describe(Schema<EdmOptions>& s);
};

/// What Euler and Heun share: images in the form x = p x0 + q eps, whose trajectories are straight in q, so
/// that dx/dq = eps - m x0.
///   p = 1, q = sigma/alpha, m = 0       if the path keeps some signal; the first image has standard deviation q,
///       or sqrt(1 + q^2) with leading spacing, whose first level is far from pure noise (diffusers does the same)
///   p = 1 - q, q = sigma/(alpha + sigma), m = 1     if it ends in pure noise; it is then a rectified flow
class EdmSampler : public Sampler {
 public:
  using Options = EdmOptions;

  /// Throws ConfigError if the schedule does not support the levels.
  EdmSampler(const Options& options, const Spec& spec);

  const std::vector<SampleStep>& plan() const override { return plan_; }
  double initial_scale() const override { return initial_scale_; }
  Tensor model_input(const Tensor& x_t, std::size_t index) const override;

 protected:
  /// The level at which plan()[index] evaluates the model.
  virtual const SampledLevel& level(std::size_t index) const { return levels_[index]; }
  double p(const SampledLevel& level) const { return is_flow_ ? 1 - q(level) : 1; }
  double q(const SampledLevel& level) const;
  /// x at the level `to`, along the straight line from `from` that x0 determines.
  Tensor moved(const Tensor& x, const Tensor& x0, const SampledLevel& from, const SampledLevel& to) const;
  /// dx/dq.
  Tensor slope(const Tensor& x, const Tensor& x0, const SampledLevel& level) const;
  /// The clean image of the estimate at plan()[index].
  Tensor clean_image(const StepInput& input) const;

  std::vector<SampledLevel> levels_;
  std::vector<SampleStep> plan_;

 private:
  CleanImage clean_image_;
  bool is_flow_;
  double initial_scale_;
};

/// Euler's method on dx/dq, with p = 1 (x - h) / sigma (Karras et al. 2022, equation 1): one evaluation per step.
class EulerSampler final : public EdmSampler {
 public:
  using EdmSampler::EdmSampler;
  Tensor step(const StepInput& input) override;
};

/// Heun's method, second order (Karras et al. 2022, algorithm 1): two evaluations per step, one for the last step. Plan
/// entries 2i and 2i+1 are Euler's proposal and its correction at the next level.
class HeunSampler final : public EdmSampler {
 public:
  HeunSampler(const Options& options, const Spec& spec);
  void start() override;
  Tensor step(const StepInput& input) override;

 protected:
  const SampledLevel& level(std::size_t index) const override { return levels_[(index + 1) / 2]; }

 private:
  Tensor x_before_;      ///< x at the level the proposal started from
  Tensor slope_before_;  ///< dx/dq there
};

}  // namespace casdm::sampler_diffusion
