#pragma once

#include <vector>

#include "noise_levels.h"

namespace casdm::sampler_diffusion {

struct EdmOptions : NoiseLevelOptions {
  static void describe(Schema<EdmOptions>& s);
};

/// What Euler and Heun share: images in the form x = x0 + sigma eps, which the model is fed as
/// x / sqrt(1 + sigma^2); the first image has standard deviation sigma, or sqrt(1 + sigma^2) with
/// leading spacing, whose first level is far from pure noise (diffusers does the same).
class EdmSampler : public Sampler {
 public:
  using Options = EdmOptions;

  /// Throws ConfigError when the schedule cannot give the levels, or ends in infinite sigma.
  EdmSampler(const Options& options, const Spec& spec);

  const std::vector<SampleStep>& plan() const override { return plan_; }
  double initial_scale() const override { return initial_scale_; }
  Tensor model_input(const Tensor& x_t, std::size_t index) const override;

 protected:
  /// The level at which plan()[index] evaluates the model.
  virtual const NoiseLevel& level(std::size_t index) const { return levels_[index]; }
  /// The clean image of the estimate at plan()[index].
  Tensor clean_image(const StepInput& input) const;

  std::vector<NoiseLevel> levels_;
  std::vector<SampleStep> plan_;

 private:
  CleanImage clean_image_;
  double initial_scale_;
};

/// Euler's method on dx/dsigma = (x - h) / sigma (Karras et al. 2022, equation 1): one evaluation a step.
class EulerSampler final : public EdmSampler {
 public:
  using EdmSampler::EdmSampler;
  Tensor step(const StepInput& input) override;
};

/// Heun's method, second order (Karras et al. 2022, algorithm 1): two evaluations a step, one for
/// the last. Plan entries 2i and 2i+1 are Euler's proposal and its correction at the next level.
class HeunSampler final : public EdmSampler {
 public:
  HeunSampler(const Options& options, const Spec& spec);
  void start() override;
  Tensor step(const StepInput& input) override;

 protected:
  const NoiseLevel& level(std::size_t index) const override { return levels_[(index + 1) / 2]; }

 private:
  Tensor x_before_;      ///< x at the level the proposal started from
  Tensor slope_before_;  ///< dx/dsigma there
};

}  // namespace casdm::sampler_diffusion
