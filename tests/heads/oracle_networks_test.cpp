#include <doctest/doctest.h>

#include "casdm/sampler.h"
#include "fixture.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// The exact noise if the only image in the data is `x0`.
FakeFactory::Maker exact_noise(std::shared_ptr<const BetaSchedule> schedule, const Tensor& x0) {
  return function([schedule, x0](const Tensor& x_t, const Tensor& t) {
    return schedule->predict_eps_from_x0(x_t, t, x0.expand_as(x_t));
  });
}

/// phi(x) = x, with `gate` as the gate's raw output.
FakeFactory::Maker identity(const Tensor& gate) {
  return function([gate](const Tensor& x, const Tensor&) {
    return at::cat({x, gate.expand({x.size(0), 1, x.size(2), x.size(3)})}, 1);
  });
}

FakeFactory::Maker constant(const Tensor& output) {
  return function([output](const Tensor& x, const Tensor&) { return output.expand({x.size(0), -1, -1, -1}); });
}

/// DDIM with eta = 0 (Song et al. 2021, equation 12) through decreasing `timesteps`.
Tensor ddim(const Bench& bench, Tensor x, const std::vector<std::int64_t>& timesteps) {
  for (std::size_t i = 0; i < timesteps.size(); ++i) {
    const Tensor t = at::full({x.size(0)}, timesteps[i], at::kLong);
    const Tensor x0 = mixed_x0(bench.head->estimate({x, t}), Clip::none);
    const double next =
        i + 1 < timesteps.size() ? bench.schedule->alphas_cumprod()[static_cast<std::size_t>(timesteps[i + 1])] : 1.0;
    x = std::sqrt(next) * x0 + std::sqrt(1 - next) * bench.schedule->predict_eps_from_x0(x, t, x0);
  }
  return x;
}

std::vector<std::int64_t> falling(std::int64_t steps, std::int64_t stride) {
  std::vector<std::int64_t> timesteps;
  for (std::int64_t t = steps - stride; t >= 0; t -= stride) timesteps.push_back(t);
  return timesteps;
}

}  // namespace

TEST_CASE("exact noise and an identity phi lead DDIM to the image, whatever the gate and the number of steps") {
  const auto schedule = linear_schedule(100);
  const Tensor image = randn(5, {1, kChannels, kSize, kSize}).tanh();
  const Tensor gate = randn(6, {1, 1, kSize, kSize}) * 3;
  for (const std::string output : {"direct", "residual"}) {
    for (const std::int64_t stride : {1, 10}) {
      const FakeFactory::Maker phi =
          output == "direct" ? identity(gate) : constant(at::cat({at::zeros_like(image), gate}, 1));
      const Bench bench("cascade", "output = \"" + output + "\"", schedule,
                        {{"theta", exact_noise(schedule, image)}, {"phi", phi}});
      const Tensor result = ddim(bench, randn(8, {2, kChannels, kSize, kSize}), falling(100, stride));
      CHECK(largest_difference(result, image) < 1e-11);
    }
  }
}

TEST_CASE("a schedule of one step has the clean image as its mean, and one DDIM step returns the mixture") {
  const Bench bench("cascade", "", linear_schedule(1));
  const TrainingBatch batch = bench.batch({0, 0});
  const Estimate estimate = bench.estimate(batch);
  CHECK(largest_difference(bench.schedule->posterior_mean(batch.x0, batch.x_t, batch.t), batch.x0) < 1e-11);
  CHECK(largest_difference(ddim(bench, batch.x_t, {0}), mixed_x0(estimate, Clip::none)) == 0);
}

TEST_CASE("a gate of 0 is the noise model, of 1 the image model, of one half their mean") {
  const auto schedule = linear_schedule(50);
  const auto mixed = [&](double r) {
    const Tensor clean = randn(4, {1, kChannels, kSize, kSize});
    const Tensor raw = at::full({1, 1, kSize, kSize}, r - 0.5, at::kDouble);
    const Bench bench("cascade", "gate_activation = \"linear\"", schedule,
                      {{"theta", tiny()}, {"phi", constant(at::cat({clean, raw}, 1))}});
    const Estimate e = bench.estimate(bench.batch({0, 10, 49}));
    return std::tuple{mixed_x0(e, Clip::none), e.x0_from_eps, e.x0.expand_as(e.x0_from_eps)};
  };
  {
    const auto [mixture, from_eps, x0] = mixed(0);
    const Bench single("single", "", schedule);
    CHECK(at::equal(mixture, from_eps));
    CHECK(at::equal(mixture, single.estimate(single.batch({0, 10, 49})).x0_from_eps));
  }
  {
    const auto [mixture, from_eps, x0] = mixed(1);
    CHECK(at::equal(mixture, x0));
  }
  {
    const auto [mixture, from_eps, x0] = mixed(0.5);
    CHECK(largest_difference(mixture, (from_eps + x0) / 2) < 1e-13);
  }
}

TEST_CASE("a fresh residual phi changes nothing, whatever the gate") {
  const auto schedule = linear_schedule(50);
  for (const double raw : {-4.0, 0.0, 0.7, 9.0}) {
    Tensor output = at::zeros({1, kChannels + 1, kSize, kSize}, at::kDouble);
    output.select(1, kChannels).fill_(raw);
    const Bench bench("cascade", "output = \"residual\"", schedule, {{"theta", tiny()}, {"phi", constant(output)}});
    const Bench single("single", "", schedule);
    const TrainingBatch batch = bench.batch({0, 10, 30, 49});
    const Tensor mixture = mixed_x0(bench.estimate(batch), Clip::each);
    CHECK(largest_difference(mixture, mixed_x0(single.estimate(batch), Clip::each)) < 1e-15);
  }
}
