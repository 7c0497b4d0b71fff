#include <ATen/ATen.h>

#include <cmath>

#include "casdm/random.h"
#include "casdm/sampler.h"
#include "casdm/text.h"
#include "framework/conformance/conformance.h"

namespace casdm::conformance {

namespace {

void tables_are_sound(const Subject& subject) {
  const auto schedule = subject.make<NoiseScheduler>({});
  double product = 1;
  for (std::size_t t = 0; t < schedule->betas().size(); ++t) {
    const double beta = schedule->betas()[t];
    require(std::isfinite(beta) && beta > 0 && beta <= 1, text("beta of timestep ", t, " is ", number(beta)));
    const double before = product;
    product *= 1 - beta;
    require(std::abs(schedule->alphas_cumprod()[t] - product) <= 1e-12,
            text("A at timestep ", t, " is not the product of 1 - beta"));
    require(product < before, text("A does not fall at timestep ", t));
    const double c1 = schedule->posterior_mean_coef1()[t];
    const double c2 = schedule->posterior_mean_coef2()[t];
    require(std::abs(c1 + c2 * std::sqrt(product) - std::sqrt(before)) <= 1e-9,
            text("c1 + c2 sqrt(A_t) is not sqrt(A_{t-1}) at timestep ", t));
  }
}

void forward_process_has_its_moments(const Subject& subject) {
  const auto schedule = subject.make<NoiseScheduler>({});
  at::Generator generator = make_generator(derive_seed(subject.seed(), "moments"));
  constexpr std::int64_t kSamples = 40000;
  const std::int64_t last = schedule->num_train_timesteps() - 1;
  for (const std::int64_t step : {std::int64_t{0}, last / 2, last}) {
    const Tensor eps = at::empty({1, kSamples}, at::kDouble).normal_(0, 1, generator);
    const Tensor t = at::full({1}, step, at::kLong);
    const Tensor x = schedule->q_sample(at::full({1, kSamples}, 0.5, at::kDouble), t, eps);
    const double kept = schedule->alphas_cumprod()[static_cast<std::size_t>(step)];
    const double mean = x.mean().item<double>();
    const double variance = x.var().item<double>();
    const double error = std::sqrt((1 - kept) / kSamples);
    require(std::abs(mean - 0.5 * std::sqrt(kept)) <= 5 * error + 1e-12,
            text("at timestep ", step, " the mean of x_t is ", number(mean)));
    require(std::abs(variance - (1 - kept)) <= 5 * std::sqrt(2.0 / kSamples) * (1 - kept) + 1e-12,
            text("at timestep ", step, " the variance of x_t is ", number(variance), ", expected ", number(1 - kept)));
  }
}

void repeats_its_tables(const Subject& subject) {
  require(subject.make<NoiseScheduler>({})->betas() == subject.make<NoiseScheduler>({})->betas(),
          "two instances have different betas");
}

std::shared_ptr<Sampler> sampler_of(const Subject& subject) { return subject.make<Sampler>({stand_in_schedule()}); }

void plans_a_way_to_the_image(const Subject& subject) {
  const auto sampler = sampler_of(subject);
  const std::vector<SampleStep>& plan = sampler->plan();
  const auto last = static_cast<double>(stand_in_schedule()->num_train_timesteps() - 1);
  require(!plan.empty(), "the plan is empty");
  require(plan.back().t_next == -1, "the last step does not end at the clean image (t_next = -1)");
  for (std::size_t i = 0; i < plan.size(); ++i) {
    require(plan[i].t >= 0 && plan[i].t <= last,
            text("step ", i, " is at t = ", number(plan[i].t), ", outside 0..", number(last)));
    require(plan[i].t_next < plan[i].t || i + 1 < plan.size(), text("step ", i, " does not lead to less noise"));
  }
  require(std::isfinite(sampler->initial_scale()) && sampler->initial_scale() > 0,
          "initial_scale is not a positive number");
}

/// A trajectory under a model that knows the one clean image.
Tensor trajectory(Sampler& sampler, const Tensor& clean, std::uint64_t seed) {
  at::NoGradGuard no_grad;
  const auto schedule = stand_in_schedule();
  at::Generator generator = make_generator(seed);
  sampler.start();
  const std::vector<SampleStep>& plan = sampler.plan();
  Tensor x = at::empty_like(clean).normal_(0, 1, generator) * sampler.initial_scale();
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const Tensor input = sampler.model_input(x, i);
    const Tensor t = at::full({clean.size(0)}, plan[i].t, clean.options());
    StepInput step;
    step.index = i;
    step.x_t = x;
    step.estimate.eps = schedule->predict_eps_from_x0(input, t, clean);
    step.estimate.x0_from_eps = clean;
    if (plan[i].needs_noise) step.noise = at::empty_like(clean).normal_(0, 1, generator);
    x = sampler.step(step);
    require(x.sizes() == clean.sizes(), text("step ", i, " returned shape ", x.sizes(), " for ", clean.sizes()));
    require(x.isfinite().all().item<bool>(), text("step ", i, " returned values that are not finite"));
  }
  return x;
}

void recovers_a_known_image(const Subject& subject) {
  const auto sampler = sampler_of(subject);
  const Tensor clean = images(3).to(at::kDouble) * 0.9;
  const double error = (trajectory(*sampler, clean, subject.seed()) - clean).abs().max().item<double>();
  require(error <= 1e-4, text("with a model that knows the clean image it ends ", number(error), " away from it"));
}

void repeats_a_trajectory(const Subject& subject) {
  const auto sampler = sampler_of(subject);
  const Tensor clean = images(3) * 0.9;
  const Tensor first = trajectory(*sampler, clean, 5);
  trajectory(*sampler, -clean, 6);
  require(at::equal(trajectory(*sampler, clean, 5), first),
          "after another trajectory the same noise gives another image: start() must clear the history");
  require(at::equal(trajectory(*sampler_of(subject), clean, 5), first),
          "a second instance gives another image for the same noise");
}

}  // namespace

std::vector<Test> noise_tests() {
  const auto kind = NoiseScheduler::kind;
  return {{kind, "tables_are_sound", false, tables_are_sound},
          {kind, "forward_process_has_its_moments", false, forward_process_has_its_moments},
          {kind, "repeats_its_tables", false, repeats_its_tables}};
}

std::vector<Test> sampler_tests() {
  const auto kind = Sampler::kind;
  return {{kind, "plans_a_way_to_the_image", false, plans_a_way_to_the_image},
          {kind, "recovers_a_known_image", false, recovers_a_known_image},
          {kind, "repeats_a_trajectory", false, repeats_a_trajectory}};
}

}  // namespace casdm::conformance
