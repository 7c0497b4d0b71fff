#include "edm.h"

#include <ATen/ATen.h>

#include <cmath>

namespace casdm::sampler_diffusion {

void EdmOptions::describe(Schema<EdmOptions>& s) {
  describe_noise_levels(s, "Steps of one trajectory; heun evaluates the model twice in each but the last.");
  describe_clean_image(s);
}

EdmSampler::EdmSampler(const Options& options, const Spec& spec)
    : levels_(noise_levels(*spec.schedule, options, LevelGrid::fractional)),
      plan_(plan_of(levels_, false)),
      clean_image_(options),
      is_flow_(std::isinf(levels_.front().ratio())) {
  const double first = q(levels_.front());
  // As in diffusers, whose levels are never without any image.
  initial_scale_ = options.spacing == LevelSpacing::leading && !is_flow_ ? std::hypot(1, first) : first;
}

double EdmSampler::q(const SampledLevel& level) const {
  return is_flow_ ? level.sigma / (level.alpha + level.sigma) : level.ratio();
}

Tensor EdmSampler::model_input(const Tensor& x_t, std::size_t index) const {
  const SampledLevel& now = level(index);
  return x_t * (is_flow_ ? now.alpha + now.sigma : now.alpha);
}

Tensor EdmSampler::clean_image(const StepInput& input) const {
  return clean_image_at(level(input.index), clean_image_, input, p(level(input.index)));
}

Tensor EdmSampler::moved(const Tensor& x, const Tensor& x0, const SampledLevel& from, const SampledLevel& to) const {
  const double kept = q(to) / q(from);
  return kept * x + (p(to) - kept * p(from)) * x0;
}

Tensor EdmSampler::slope(const Tensor& x, const Tensor& x0, const SampledLevel& level) const {
  const Tensor eps = (x - p(level) * x0) / q(level);
  return is_flow_ ? eps - x0 : eps;
}

Tensor EulerSampler::step(const StepInput& input) {
  return moved(input.x_t, clean_image(input), levels_[input.index], levels_[input.index + 1]);
}

HeunSampler::HeunSampler(const Options& options, const Spec& spec) : EdmSampler(options, spec) {
  const std::vector<SampleStep> steps = std::move(plan_);
  plan_.clear();
  for (const SampleStep& step : steps) {
    plan_.push_back(step);
    if (step.t_next != levels_.back().t) plan_.push_back({step.t_next, step.t_next, false});
  }
}

void HeunSampler::start() {
  x_before_.reset();
  slope_before_.reset();
}

Tensor HeunSampler::step(const StepInput& input) {
  const bool is_correction = input.index % 2 == 1;
  const Tensor x0 = clean_image(input);
  const SampledLevel& now = level(input.index);
  if (is_correction) {
    const double length = q(now) - q(level(input.index - 1));
    return x_before_ + 0.5 * length * (slope_before_ + slope(input.x_t, x0, now));
  }
  x_before_ = input.x_t;
  slope_before_ = slope(input.x_t, x0, now);
  return moved(input.x_t, x0, now, levels_[input.index / 2 + 1]);
}

}  // namespace casdm::sampler_diffusion
