#include "dpmpp.h"

#include <ATen/ATen.h>

#include <cmath>

namespace casdm::sampler_diffusion {

void Dpmpp2mOptions::describe(Schema<Dpmpp2mOptions>& s) {
  describe_noise_levels(s, "Steps of one trajectory, one evaluation each.");
  describe_clean_image(s);
}

void Dpmpp2mSdeOptions::describe(Schema<Dpmpp2mSdeOptions>& s) {
  describe_noise_levels(s, "Steps of one trajectory, one evaluation each.");
  s.option("eta", &Dpmpp2mSdeOptions::eta, "Strength of the noise; 0 is dpmpp_2m, 1 the form of the paper.")
      .at_least(0);
  describe_clean_image(s);
}

Dpmpp2mSolver::Dpmpp2mSolver(const NoiseLevelOptions& options, double eta, const Spec& spec)
    : clean_image_(options),
      eta_(eta),
      levels_(noise_levels(*spec.schedule, options, LevelGrid::whole)),
      initial_scale_(initial_noise(*spec.schedule, options, levels_.front())),
      plan_(plan_of(levels_, eta > 0)) {}

Tensor Dpmpp2mSolver::step(const StepInput& input) {
  const SampledLevel& s = levels_[input.index];
  const SampledLevel& t = levels_[input.index + 1];
  const double h = t.log_ratio() - s.log_ratio();
  const double damping = eta_ > 0 ? eta_ * h : 0.0;  // h is infinite if A_T = 0, and at the end

  const Tensor x0 = clean_image_at(s, clean_image_, input, s.alpha);
  Tensor direction = x0;
  if (x0_before_.defined() && t.sigma > 0) {
    const double h_before = s.log_ratio() - levels_[input.index - 1].log_ratio();
    direction = x0 + 0.5 * h / h_before * (x0 - x0_before_);
  }
  x0_before_ = x0;

  const Tensor x = t.sigma / s.sigma * std::exp(-damping) * input.x_t - t.alpha * std::expm1(-h - damping) * direction;
  return plan_[input.index].needs_noise ? x + t.sigma * std::sqrt(-std::expm1(-2 * damping)) * input.noise : x;
}

}  // namespace casdm::sampler_diffusion
