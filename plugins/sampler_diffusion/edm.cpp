#include "edm.h"

#include <ATen/ATen.h>

#include <cmath>

#include "casdm/error.h"

namespace casdm::sampler_diffusion {

void EdmOptions::describe(Schema<EdmOptions>& s) {
  describe_noise_levels(s, "Steps of one trajectory; heun evaluates the model twice in each but the last.");
  describe_clean_image(s);
}

EdmSampler::EdmSampler(const Options& options, const Spec& spec)
    : levels_(noise_levels(*spec.schedule, options, LevelGrid::fractional)),
      plan_(plan_of(levels_, false)),
      clean_image_(options) {
  const double first = levels_.front().ratio();
  if (std::isinf(first)) {
    throw ConfigError(
        "this sampler needs a finite sigma, but the schedule ends in pure noise (A_T = 0); "
        "use ddim or dpmpp_2m, or a schedule without rescale_zero_terminal_snr");
  }
  initial_scale_ = options.spacing == "leading" ? std::hypot(1, first) : first;
}

Tensor EdmSampler::model_input(const Tensor& x_t, std::size_t index) const { return x_t * level(index).alpha; }

Tensor EdmSampler::clean_image(const StepInput& input) const {
  return clean_image_at(level(input.index), clean_image_, input, 1);
}

Tensor EulerSampler::step(const StepInput& input) {
  const double kept = levels_[input.index + 1].ratio() / levels_[input.index].ratio();
  return kept * input.x_t + (1 - kept) * clean_image(input);
}

HeunSampler::HeunSampler(const Options& options, const Spec& spec) : EdmSampler(options, spec) {
  const std::vector<SampleStep> steps = std::move(plan_);
  plan_.clear();
  for (const SampleStep& step : steps) {
    plan_.push_back(step);
    if (step.t_next >= 0) plan_.push_back({step.t_next, step.t_next, false});
  }
}

void HeunSampler::start() {
  x_before_.reset();
  slope_before_.reset();
}

Tensor HeunSampler::step(const StepInput& input) {
  const bool is_correction = input.index % 2 == 1;
  const double sigma = level(input.index).ratio();
  if (is_correction) {
    const Tensor slope = (input.x_t - clean_image(input)) / sigma;
    const double sigma_before = level(input.index - 1).ratio();
    return x_before_ + 0.5 * (sigma - sigma_before) * (slope_before_ + slope);
  }
  const Tensor x0 = clean_image(input);
  const double kept = levels_[input.index / 2 + 1].ratio() / sigma;
  x_before_ = input.x_t;
  slope_before_ = (input.x_t - x0) / sigma;
  return kept * input.x_t + (1 - kept) * x0;
}

}  // namespace casdm::sampler_diffusion
