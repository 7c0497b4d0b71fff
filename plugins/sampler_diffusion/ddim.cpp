#include "ddim.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "casdm/log.h"

namespace casdm::sampler_diffusion {
void DdimOptions::describe(Schema<DdimOptions>& s) {
  s.option("num_inference_steps", &DdimOptions::num_inference_steps, "Steps of one trajectory, at most T.")
      .range(1, kMostSteps)
      .at_most(kTimestepsKey)
      .not_with(kRespacing);
  s.option("spacing", &DdimOptions::spacing, "Which timesteps are kept.").not_with(kRespacing);
  s.option(kRespacing, &DdimOptions::timestep_respacing,
           "Both in guided-diffusion's notation, instead: \"250\", \"ddim50\", \"10,15,20\".")
      .matching(kRespacingPattern)
      .at_most(kTimestepsKey)
      .example("ddim50");
  s.option("eta", &DdimOptions::eta, "Noise of a step: 0 deterministic, 1 like DDPM.").range(0, 1);
  s.option("previous", &DdimOptions::previous,
           "Where a step leads: to the next kept timestep, or floor(T / number of steps) below, where diffusers goes "
           "even if the next evaluation is at another one. The same when the number of steps divides T.");
  describe_clean_image(s);
}

DdimSampler::DdimSampler(const Options& options, const Spec& spec)
    : clean_image_(options), initial_scale_(spec.schedule->prior_std()) {
  const NoiseScheduler& schedule = *spec.schedule;
  warn_of_steps(options.num_inference_steps, DdimOptions().num_inference_steps, options.timestep_respacing);
  const double clean = schedule.range().clean;
  plan_ = plan_of_times(sampling_times(schedule, options.num_inference_steps, options.spacing, DdimOptions().spacing,
                                       options.timestep_respacing),
                        clean, false);
  const bool strides = options.previous == Previous::stride && schedule.range().is_whole;
  if (options.previous == Previous::stride && !strides) {
    Log("sampler").warning("previous = \"stride\" does nothing: this noise schedule has no whole timesteps to count; ",
                           "leave it out");
  }
  const double stride =
      std::floor(static_cast<double>(schedule.num_train_timesteps()) / static_cast<double>(plan_.size()));
  for (SampleStep& step : plan_) {
    const double next = strides ? std::max(step.t - stride, clean) : step.t_next;
    coefficients_.push_back(coefficients(schedule, step.t, next, options.eta));
    step.needs_noise = coefficients_.back().of_noise > 0;
  }
}

DdimSampler::Coefficients DdimSampler::coefficients(const NoiseScheduler& schedule, double t, double next, double eta) {
  const NoiseLevel from = schedule.level(t);
  const NoiseLevel to = schedule.level(next);
  const double variance = eta * eta * schedule.posterior(t, next).variance;
  const double of_eps = std::sqrt(std::max(to.sigma * to.sigma - variance, 0.0));
  const double of_x_t = of_eps / from.sigma;
  return {to.alpha - of_x_t * from.alpha, of_x_t, std::sqrt(variance)};
}

Tensor DdimSampler::step(const StepInput& input) {
  const Coefficients& k = coefficients_.at(input.index);
  const Tensor x = k.of_x0 * clean_image_(input.estimate) + k.of_x_t * input.x_t;
  return plan_[input.index].needs_noise ? x + k.of_noise * input.noise : x;
}

}  // namespace casdm::sampler_diffusion
