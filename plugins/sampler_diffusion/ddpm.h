#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "casdm/choice.h"
#include "casdm/options.h"
#include "casdm/sampler.h"
#include "clean_image.h"
#include "timesteps.h"

namespace casdm::sampler_diffusion {

/// The variance of a step.
enum class Variance { automatic, fixed_small, fixed_large, learned_range };

constexpr auto choices_of(Variance) {
  using enum Variance;
  return choices<Variance>({{automatic, "auto"},
                            {fixed_small, "fixed_small"},
                            {fixed_large, "fixed_large"},
                            {learned_range, "learned_range"}});
}

struct DdpmOptions : CleanImageOptions {
  std::int64_t num_inference_steps = 0;
  Spacing spacing = Spacing::linspace;
  std::string timestep_respacing;
  Variance variance = Variance::automatic;

  static void describe(Schema<DdpmOptions>& s);
};

/// Ancestral sampling (Ho et al. 2020, algorithm 2):
///
///     x_{t-1} = c1 h + c2 x_t + sqrt(variance) z,    z = 0 in the last step
///
/// h is the mixed clean image, so the mean is r mu_x0 + (1-r) mu_eps. c1, c2 and the variances are those of the path
/// between the two times of the step; with fewer steps than the schedule has this is the respaced process
/// (Nichol & Dhariwal 2021, section 4). The variance is
///     fixed_small    beta~_t = beta_t (1-A_{t-1}) / (1-A_t)
///     fixed_large    beta_t
///     learned_range  exp(f log beta_t + (1-f) log beta~_t), f = (v+1)/2, v from the head (eq. 15 there)
///     auto           learned_range if the head learns one, else fixed_large
class DdpmSampler : public Sampler {
 public:
  using Options = DdpmOptions;

  /// Throws ConfigError if the schedule does not support the requested steps.
  DdpmSampler(const Options& options, const Spec& spec);

  const std::vector<SampleStep>& plan() const override { return plan_; }
  double initial_scale() const override { return initial_scale_; }

  /// Throws ConfigError if the variance should be learned but the estimate has none.
  Tensor step(const StepInput& input) override;

 private:
  /// sqrt(variance) z of a step.
  Tensor scaled_noise(const StepInput& input, const PosteriorLevel& posterior) const;

  Variance variance_;
  CleanImage clean_image_;
  double initial_scale_;
  std::vector<SampleStep> plan_;
  std::vector<PosteriorLevel> posteriors_;  ///< of each step
};

}  // namespace casdm::sampler_diffusion
