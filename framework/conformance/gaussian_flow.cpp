#include "framework/conformance/gaussian_flow.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "casdm/beta_schedule.h"
#include "casdm/text.h"

namespace casdm::conformance {

namespace {

constexpr double kMean = 0.3;
constexpr double kVariance = 0.25;
constexpr std::string_view kStepsOption = Sampler::steps_option;

/// So fine that the discretisation does not matter.
constexpr std::int64_t kFinest = 4000;

/// The schedule of Ho et al. 2020 with `count` timesteps.
std::shared_ptr<const NoiseScheduler> linear_schedule(std::int64_t count) {
  const auto T = static_cast<double>(count);
  std::vector<double> betas;
  for (std::int64_t t = 0; t < count; ++t) {
    betas.push_back(1000 / T * (1e-4 + (0.02 - 1e-4) * static_cast<double>(t) / (T - 1)));
  }
  return std::make_shared<const BetaSchedule>(std::move(betas));
}

double variance(const NoiseLevel& level) { return kVariance * level.alpha * level.alpha + level.sigma * level.sigma; }

bool has_steps_option(const Subject& subject) {
  const OptionSchema& options = subject.entry().options;
  return std::any_of(options.begin(), options.end(), [](const OptionSpec& o) { return o.name == kStepsOption; });
}

/// [rows] as images of one pixel, and back.
Tensor as_images(const Tensor& rows) { return rows.view({-1, 1, 1, 1}).expand({-1, kChannels, 4, 4}).contiguous(); }
Tensor as_rows(const Tensor& images) { return images.select(1, 0).select(1, 0).select(1, 0); }

}  // namespace

GaussianFlow::GaussianFlow(const Subject& subject, std::shared_ptr<const NoiseScheduler> path, std::int64_t steps)
    : schedule_(path ? std::move(path) : linear_schedule(has_steps_option(subject) ? kFinest : steps)) {
  Value table{Value::Table{}};
  if (has_steps_option(subject)) table.set(kStepsOption, steps);
  sampler_ = subject.make<Sampler>({schedule_, kImage}, table);
  plan_ = sampler_->plan();
}

bool GaussianFlow::draws_noise() const {
  return std::any_of(plan_.begin(), plan_.end(), [](const SampleStep& step) { return step.needs_noise; });
}

Tensor GaussianFlow::to_z(const Tensor& x, std::size_t index) const {
  const NoiseLevel now = level(index);
  return (sampler_->model_input(x, index) - kMean * now.alpha) / std::sqrt(variance(now));
}

Tensor GaussianFlow::from_z(const Tensor& z, std::size_t index) const {
  const NoiseLevel now = level(index);
  const Tensor seen = kMean * now.alpha + std::sqrt(variance(now)) * z;
  // The model sees x times this factor.
  return seen / sampler_->model_input(at::ones_like(z), index);
}

Tensor GaussianFlow::step(const Tensor& x, std::size_t index, const Tensor& noise, double bias) const {
  const NoiseLevel now = level(index);
  const Tensor seen = sampler_->model_input(x, index);
  StepInput input;
  input.index = index;
  input.x_t = x;
  input.level = now;
  input.next_level = schedule_->level(plan_[index].t_next);
  const Tensor deviation = (seen - kMean * now.alpha) / variance(now);
  input.estimate.eps = now.sigma * deviation + bias;
  input.estimate.x0_from_eps = kMean + kVariance * now.alpha * deviation;
  if (bias != 0) input.estimate.x0_from_eps -= bias * now.ratio();
  if (plan_[index].needs_noise) input.noise = as_images(noise.select(1, static_cast<std::int64_t>(index)));
  return sampler_->step(input);
}

Tensor GaussianFlow::run(const Tensor& z, const Tensor& noise, std::size_t last) const {
  sampler_->start();
  Tensor x = from_z(as_images(z), 0);
  for (std::size_t i = 0; i < last; ++i) x = step(x, i, noise);
  return x;
}

bool GaussianFlow::keeps_history() const {
  const at::NoGradGuard no_grad;
  const Tensor z = at::ones({1}, at::kDouble);
  const Tensor noise = at::zeros({1, static_cast<std::int64_t>(steps())}, at::kDouble);
  // Two consecutive evaluations, since a method may alternate between the first and second evaluation of a step.
  for (const std::size_t index : {steps() / 2, steps() / 2 + 1}) {
    if (index == 0 || index >= steps()) continue;
    const Tensor x = run(z, noise, index);
    const Tensor plain = step(x, index, noise);
    const Tensor before = run(z, noise, index - 1);
    step(before, index - 1, noise, /*bias=*/0.1);
    if (!at::equal(step(x, index, noise), plain)) return true;
  }
  return false;
}

double GaussianFlow::error() const {
  const at::NoGradGuard no_grad;
  const std::size_t last = steps() - 1;
  // Every step is affine in x and in its noise, so the effect of each can be measured by setting it to 1: row 0 is z =
  // 0 without noise, row 1 is z = 1 without noise, and each further row is z = 0 with noise in one step.
  const auto sources = static_cast<std::int64_t>(draws_noise() ? steps() : 0);
  Tensor z = at::zeros({2 + sources}, at::kDouble);
  z[1] = 1;
  Tensor noise = at::zeros({2 + sources, static_cast<std::int64_t>(steps())}, at::kDouble);
  for (std::int64_t i = 0; i < sources; ++i) noise[2 + i][i] = 1;
  const Tensor end = as_rows(to_z(run(z, noise, last), last));
  const double mean = end[0].item<double>();
  const Tensor effects = end.narrow(0, 1, 1 + sources) - end[0];
  if (sources == 0) return std::max(std::abs(mean), std::abs(effects[0].item<double>() - 1));
  return std::max(std::abs(mean), std::abs(effects.square().sum().item<double>() - 1));
}

}  // namespace casdm::conformance
