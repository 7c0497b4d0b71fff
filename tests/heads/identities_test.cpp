#include <doctest/doctest.h>

#include "casdm/sampler.h"
#include "fixture.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

constexpr std::int64_t kSteps = 1000;
const std::vector<std::int64_t> kTimes = {0, 1, kSteps / 2 - 1, kSteps - 1};

/// The coefficients of the paper's formulas at the timesteps of a batch.
struct Coefficients {
  Coefficients(const BetaSchedule& schedule, const Tensor& t)
      : beta(at_t(schedule.betas(), t)),
        a(at_t(schedule.alphas_cumprod(), t)),
        a_prev(at_t(schedule.alphas_cumprod_prev(), t)),
        amplification(((1 - a) / a).sqrt()) {}

  Tensor posterior_mean(const Tensor& x0, const Tensor& x_t) const {
    return a_prev.sqrt() * beta / (1 - a) * x0 + (1 - beta).sqrt() * (1 - a_prev) / (1 - a) * x_t;
  }
  Tensor ddim_mean(const Tensor& x0, const Tensor& x_t, const Tensor& variance) const {
    return a_prev.sqrt() * x0 + (1 - a_prev - variance).clamp_min(0).sqrt() * (x_t - a.sqrt() * x0) / (1 - a).sqrt();
  }
  Tensor ddim_variance(double eta) const { return eta * eta * (1 - a_prev) / (1 - a) * (1 - a / a_prev); }

  Tensor beta, a, a_prev, amplification;
};

}  // namespace

TEST_CASE("mixing means equals mixing clean images, at every noise level") {
  // Rounding in x0* is amplified by up to 157, which the bounds allow for.
  for (const auto& [dtype, bound] : {std::pair{at::kDouble, 1e-11}, std::pair{at::kFloat, 1e-5}}) {
    const FakeFactory::Maker maker = tiny(dtype);
    const Bench bench("cascade", "input_clip = \"none\"", linear_schedule(kSteps), {{"theta", maker}, {"phi", maker}});
    const TrainingBatch batch = bench.batch(kTimes, dtype);
    const Estimate estimate = bench.estimate(batch);
    const Coefficients c(*bench.schedule, batch.t);
    const Tensor tolerance = bound * (1 + c.amplification);
    const Tensor x_t = batch.x_t.to(at::kDouble), eps = estimate.eps.to(at::kDouble);
    const auto agree = [&](const Tensor& a, const Tensor& b) {
      return ((a - b).abs() <= tolerance).all().item<bool>();
    };

    REQUIRE(estimate.gate.sizes() == at::IntArrayRef({4, 1, kSize, kSize}));
    const Tensor mixed = mixed_x0(estimate, Clip::none);
    const Tensor r = estimate.gate.to(at::kDouble);

    INFO("I1: the noise's mean is the posterior mean at x0*");
    const Tensor mu_eps = (x_t - c.beta / (1 - c.a).sqrt() * eps) / (1 - c.beta).sqrt();
    CHECK(agree(mu_eps, c.posterior_mean(estimate.x0_from_eps, x_t)));

    INFO("I2: for the DDPM posterior");
    const Tensor mu_x0 = c.posterior_mean(estimate.x0, x_t);
    CHECK(agree(r * mu_x0 + (1 - r) * mu_eps, c.posterior_mean(mixed, x_t)));

    INFO("I3: for DDIM, where each branch derives its own noise");
    const Tensor none = at::zeros_like(c.a);
    CHECK(agree(r * c.ddim_mean(estimate.x0, x_t, none) + (1 - r) * c.ddim_mean(estimate.x0_from_eps, x_t, none),
                c.ddim_mean(mixed, x_t, none)));

    INFO("I4: DDIM with eta = 1 is DDPM");
    const Tensor variance = c.ddim_variance(1.0);
    CHECK(agree(c.ddim_mean(mixed, x_t, variance), c.posterior_mean(mixed, x_t)));
    CHECK(largest_difference(variance, at_t(bench.schedule->posterior_variance(), batch.t)) < 1e-12);
  }
}

TEST_CASE("the mu loss is the distance between the true and the mixed mean") {
  // Written out with two means, as in the paper; the head computes c1^2 |x0 - mixture|^2 (I5).
  for (const std::string gate : {"spatial", "scalar", "channel"}) {
    const Bench bench("cascade", "mu_space = \"ddpm\"\ngate_shape = \"" + gate + "\"", linear_schedule(kSteps));
    const TrainingBatch batch = bench.batch(kTimes);
    const Estimate e = bench.estimate(batch);
    const Coefficients c(*bench.schedule, batch.t);
    const Tensor mu_eps = (batch.x_t - c.beta / (1 - c.a).sqrt() * e.eps) / (1 - c.beta).sqrt();
    const Tensor mu = e.gate * c.posterior_mean(e.x0, batch.x_t) + (1 - e.gate) * mu_eps;
    const Tensor expected = mean_of_images((c.posterior_mean(batch.x0, batch.x_t) - mu).square());
    const Tensor actual = term(bench.head->losses(batch, NoMetric()), "mu").value;
    CHECK(((actual - expected).abs() <= 1e-11 * (1 + expected)).all().item<bool>());
  }
}

TEST_CASE("the mu loss can compare DDIM means, and can leave out the weight of the timestep") {
  const Bench ddim("cascade", "mu_space = \"ddim\"", linear_schedule(kSteps));
  const Bench plain("cascade", "mu_weight = \"inv_c1sq\"", linear_schedule(kSteps));
  const TrainingBatch batch = ddim.batch(kTimes);
  const Estimate e = ddim.estimate(batch);
  const Coefficients c(*ddim.schedule, batch.t);
  const Tensor none = at::zeros_like(c.a);
  const Tensor mu =
      e.gate * c.ddim_mean(e.x0, batch.x_t, none) + (1 - e.gate) * c.ddim_mean(e.x0_from_eps, batch.x_t, none);
  const Tensor expected = mean_of_images((c.ddim_mean(batch.x0, batch.x_t, none) - mu).square());
  const Tensor actual = term(ddim.head->losses(batch, NoMetric()), "mu").value;
  CHECK(((actual - expected).abs() <= 1e-11 * (1 + expected)).all().item<bool>());

  const Tensor unweighted = mean_of_images((batch.x0 - mixed_x0(e, Clip::none)).square());
  CHECK(max_relative_difference(term(plain.head->losses(batch, NoMetric()), "mu").value, unweighted) < 1e-11);
}

TEST_CASE("gradient descent on the mu loss finds the best gate in closed form") {
  // I5: r* = <x0-x0*, x0'-x0*> / |x0'-x0*|^2 for one r over all elements.
  const Tensor raw = at::zeros({1}, at::kDouble).requires_grad_(true);
  const Tensor clean = randn(11, {1, kChannels, kSize, kSize});
  const Bench bench("cascade", "gate_shape = \"scalar\"\ngate_activation = \"linear\"\nmu_weight = \"inv_c1sq\"",
                    linear_schedule(100),
                    {{"theta", tiny()}, {"phi", function([&](const Tensor& x, const Tensor&) {
                                           return at::cat({clean, raw.expand({1, 1, kSize, kSize})}, 1);
                                         })}});
  const TrainingBatch batch = bench.batch({40});
  const Estimate e = bench.estimate(batch);
  const Tensor way = e.x0 - e.x0_from_eps;
  const double best = (((batch.x0 - e.x0_from_eps) * way).sum() / way.square().sum()).item<double>();
  const double rate = 0.25 / way.square().mean().item<double>();

  for (int step = 0; step < 60; ++step) {
    raw.mutable_grad() = Tensor();
    term(bench.head->losses(batch, NoMetric()), "mu").value.sum().backward();
    const at::NoGradGuard no_grad;
    raw.sub_(raw.grad(), rate);
  }
  // The error halves in each of 60 steps.
  CHECK(bench.estimate(batch).gate.item<double>() == doctest::Approx(best).epsilon(1e-11));
}
