#include "ddpm.h"

#include <ATen/ATen.h>

#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"
#include "timesteps.h"

namespace casdm::sampler_diffusion {
namespace {

std::vector<std::int64_t> kept_timesteps(const DdpmOptions& options, std::int64_t total) {
  if (!options.timestep_respacing.empty()) return respaced_timesteps(total, options.timestep_respacing);
  const std::int64_t count = options.num_inference_steps == 0 ? total : options.num_inference_steps;
  return spaced_timesteps(total, count, options.spacing);
}

}  // namespace

void DdpmOptions::describe(Schema<DdpmOptions>& s) {
  s.option("num_inference_steps", &DdpmOptions::num_inference_steps, "Steps of one trajectory; 0: every timestep.")
      .at_least(0)
      .at_most(kTimestepsKey);
  s.option("spacing", &DdpmOptions::spacing, "Which timesteps are kept.").choices(spacing_names());
  s.option("timestep_respacing", &DdpmOptions::timestep_respacing,
           "guided-diffusion's way to say both, instead: \"250\", \"ddim50\", \"10,15,20\".")
      .matching(kRespacingPattern)
      .at_most(kTimestepsKey)
      .example("250");
  s.option("variance", &DdpmOptions::variance,
           "Of a step: beta~_t, beta_t, what the head learned between the two, or that where there is one and else "
           "beta_t.")
      .choices({"auto", "fixed_small", "fixed_large", "learned_range"});
  describe_clean_image(s);
}

DdpmSampler::DdpmSampler(const Options& options, const Spec& spec)
    : variance_(options.variance),
      clean_image_(options),
      timesteps_(kept_timesteps(options, spec.schedule->num_train_timesteps())),
      schedule_(respaced(*spec.schedule, timesteps_)),
      plan_(descending_plan(timesteps_, true)) {}

Tensor DdpmSampler::standard_deviation(const Estimate& estimate, std::size_t row, const Tensor& like) const {
  const double log_small = schedule_.posterior_log_variance_clipped()[row];
  const double log_beta = std::log(schedule_.betas()[row]);
  const bool is_learned = variance_ == "learned_range" || (variance_ == "auto" && estimate.variance.defined());
  if (!is_learned) {
    return at::full({}, std::exp(0.5 * (variance_ == "fixed_small" ? log_small : log_beta)), like.options());
  }
  if (!estimate.variance.defined()) {
    throw Error(
        "sampler ddpm: variance = \"learned_range\", but the head predicts no variance; "
        "use \"fixed_small\" or \"fixed_large\", or a head that learns it");
  }
  const Tensor fraction = (estimate.variance.to(like.scalar_type()) + 1) / 2;
  return at::exp(0.5 * (fraction * log_beta + (1 - fraction) * log_small));
}

Tensor DdpmSampler::step(const StepInput& input) {
  const std::size_t row = plan_.size() - 1 - input.index;
  const Tensor x0 = clean_image_(input.estimate);
  const Tensor mean = schedule_.posterior_mean_coef1()[row] * x0 + schedule_.posterior_mean_coef2()[row] * input.x_t;
  if (!plan_[input.index].needs_noise) return mean;
  return mean + standard_deviation(input.estimate, row, mean) * input.noise;
}

}  // namespace casdm::sampler_diffusion
