#include "ddpm.h"

#include <ATen/ATen.h>

#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"
namespace casdm::sampler_diffusion {
void DdpmOptions::describe(Schema<DdpmOptions>& s) {
  s.option("num_inference_steps", &DdpmOptions::num_inference_steps, "Steps of one trajectory; 0: every timestep.")
      .range(0, kMostSteps)
      .at_most(kTimestepsKey)
      .not_with(kRespacing);
  s.option("spacing", &DdpmOptions::spacing, "Which timesteps are kept.").not_with(kRespacing);
  s.option(kRespacing, &DdpmOptions::timestep_respacing,
           "Both in guided-diffusion's notation, instead: \"250\", \"ddim50\", \"10,15,20\".")
      .matching(kRespacingPattern)
      .at_most(kTimestepsKey)
      .example("250");
  s.option("variance", &DdpmOptions::variance,
           "Of a step: beta~_t, beta_t, what the head learned between the two, or that where there is one and else "
           "beta_t.");
  describe_clean_image(s);
}

DdpmSampler::DdpmSampler(const Options& options, const Spec& spec)
    : variance_(options.variance), clean_image_(options), initial_scale_(spec.schedule->prior_std()) {
  const NoiseScheduler& schedule = *spec.schedule;
  warn_of_steps(options.num_inference_steps, DdpmOptions().num_inference_steps, options.timestep_respacing);
  const std::int64_t count =
      options.num_inference_steps == 0 ? schedule.num_train_timesteps() : options.num_inference_steps;
  plan_ =
      plan_of_times(sampling_times(schedule, count, options.spacing, DdpmOptions().spacing, options.timestep_respacing),
                    schedule.range().clean, true);
  for (const SampleStep& step : plan_) posteriors_.push_back(schedule.posterior(step.t, step.t_next));
}

Tensor DdpmSampler::scaled_noise(const StepInput& input, const PosteriorLevel& posterior) const {
  const Estimate& estimate = input.estimate;
  const bool is_learned =
      variance_ == Variance::learned_range || (variance_ == Variance::automatic && estimate.variance.defined());
  if (!is_learned) {
    const double variance = variance_ == Variance::fixed_small ? posterior.variance : posterior.step_variance;
    return std::sqrt(variance) * input.noise;
  }
  if (!estimate.variance.defined()) {
    throw ConfigError(
        "variance = \"learned_range\", but the head predicts no variance; use \"fixed_small\" or \"fixed_large\", or "
        "a head that learns it");
  }
  const Tensor fraction = (estimate.variance.to(input.noise.scalar_type()) + 1) / 2;
  return at::exp(0.5 * (fraction * std::log(posterior.step_variance) + (1 - fraction) * std::log(posterior.variance))) *
         input.noise;
}

Tensor DdpmSampler::step(const StepInput& input) {
  const PosteriorLevel& posterior = posteriors_[input.index];
  const Tensor mean = posterior.of_x0 * clean_image_(input.estimate) + posterior.of_x_t * input.x_t;
  if (!plan_[input.index].needs_noise) return mean;
  return mean + scaled_noise(input, posterior);
}

}  // namespace casdm::sampler_diffusion
