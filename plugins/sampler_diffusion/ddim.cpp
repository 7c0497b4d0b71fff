#include "ddim.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "timesteps.h"

namespace casdm::sampler_diffusion {
namespace {

std::vector<std::int64_t> kept_timesteps(const DdimOptions& options, std::int64_t total) {
  return options.timestep_respacing.empty() ? spaced_timesteps(total, options.num_inference_steps, options.spacing)
                                            : respaced_timesteps(total, options.timestep_respacing);
}

}  // namespace

void DdimOptions::describe(Schema<DdimOptions>& s) {
  s.option("num_inference_steps", &DdimOptions::num_inference_steps, "Steps of one trajectory, at most T.")
      .at_least(1)
      .at_most(kTimestepsKey);
  s.option("spacing", &DdimOptions::spacing, "Which timesteps are kept.").choices(spacing_names());
  s.option("timestep_respacing", &DdimOptions::timestep_respacing,
           "guided-diffusion's way to say both, instead: \"250\", \"ddim50\", \"10,15,20\".")
      .matching(kRespacingPattern)
      .at_most(kTimestepsKey)
      .example("ddim50");
  s.option("eta", &DdimOptions::eta, "Noise of a step: 0 deterministic, 1 like DDPM.").range(0, 1);
  s.option("previous", &DdimOptions::previous,
           "Where a step leads: to the next kept timestep, or floor(T / number of steps) below, where diffusers goes "
           "even if the next evaluation is at another one. The same when the number of steps divides T.")
      .choices({"kept", "stride"});
  describe_clean_image(s);
}

DdimSampler::DdimSampler(const Options& options, const Spec& spec) : clean_image_(options) {
  const NoiseScheduler& schedule = *spec.schedule;
  const std::vector<double>& table = schedule.alphas_cumprod();
  const auto timesteps = kept_timesteps(options, schedule.num_train_timesteps());
  plan_ = descending_plan(timesteps, false);
  const double stride = std::floor(static_cast<double>(table.size()) / static_cast<double>(timesteps.size()));
  for (SampleStep& step : plan_) {
    const double next = options.previous == "stride" ? step.t - stride : step.t_next;
    const double alpha_cumprod_next = next < 0 ? 1.0 : table[static_cast<std::size_t>(next)];
    coefficients_.push_back(coefficients(table[static_cast<std::size_t>(step.t)], alpha_cumprod_next, options.eta));
    step.needs_noise = coefficients_.back().of_noise > 0;
  }
}

DdimSampler::Coefficients DdimSampler::coefficients(double alpha_cumprod, double alpha_cumprod_next, double eta) {
  const double variance =
      eta * eta * (1 - alpha_cumprod_next) / (1 - alpha_cumprod) * (1 - alpha_cumprod / alpha_cumprod_next);
  const double of_eps = std::sqrt(std::max(1 - alpha_cumprod_next - variance, 0.0));
  const double of_x_t = of_eps / std::sqrt(1 - alpha_cumprod);
  return {std::sqrt(alpha_cumprod_next) - of_x_t * std::sqrt(alpha_cumprod), of_x_t, std::sqrt(variance)};
}

Tensor DdimSampler::step(const StepInput& input) {
  const Coefficients& k = coefficients_.at(input.index);
  const Tensor x = k.of_x0 * clean_image_(input.estimate) + k.of_x_t * input.x_t;
  return plan_[input.index].needs_noise ? x + k.of_noise * input.noise : x;
}

}  // namespace casdm::sampler_diffusion
