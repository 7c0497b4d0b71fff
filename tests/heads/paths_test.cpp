#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fixture.h"
#include "support/paths.h"

namespace casdm {
namespace {

using namespace testing;

struct Path {
  std::string name;
  std::shared_ptr<const NoiseScheduler> schedule;
  Tensor t;
};

/// Every kind of path at three times, the noisiest last.
std::vector<Path> paths() {
  const Tensor whole = at::tensor({1, 20, 48}, at::kLong);
  return {{"linear", make_beta_schedule("linear", "num_train_timesteps = 50"), whole},
          {"cosine", make_beta_schedule("cosine", "num_train_timesteps = 50"), whole},
          {"flow", std::make_shared<FlowPath>(0.999), at::tensor({0.05, 0.5, 0.98}, at::kDouble)},
          {"edm", std::make_shared<EdmPath>(), at::tensor({0.03, 1.0, 60.0}, at::kDouble)}};
}

TrainingBatch batch_on(const Path& path) {
  return noised_batch(*path.schedule, randn(1, {3, kChannels, kSize, kSize}).tanh(), path.t,
                      randn(2, {3, kChannels, kSize, kSize}));
}

/// The mean of x_s given x_t and the noise in it, from q(x_t | x_s) and q(x_s | x0) alone:
/// alpha_s/alpha_t (x_t - (sigma_t^2 - (alpha_t/alpha_s)^2 sigma_s^2) / sigma_t eps).
Tensor mean_by_noise(const NoiseScheduler& schedule, const Tensor& t, const Tensor& s, const Tensor& x_t,
                     const Tensor& eps) {
  const Tensor ratio = schedule.alpha(t) / schedule.alpha(s);
  const Tensor step_variance = schedule.sigma(t).square() - ratio.square() * schedule.sigma(s).square();
  return (x_t - per_image(step_variance / schedule.sigma(t), x_t) * eps) / per_image(ratio, x_t);
}

/// The posterior mean by Bayes: the precisions of x_s given x0 and given x_t add up.
Tensor mean_by_image(const NoiseScheduler& schedule, const Tensor& t, const Tensor& s, const Tensor& x_t,
                     const Tensor& x0) {
  const Tensor ratio = schedule.alpha(t) / schedule.alpha(s);
  const Tensor from_t = ratio.square() / (schedule.sigma(t).square() - ratio.square() * schedule.sigma(s).square());
  const Tensor from_0 = 1 / schedule.sigma(s).square();
  const Tensor a = per_image(schedule.alpha(s), x0) * x0;
  const Tensor b = x_t / per_image(ratio, x_t);
  return (per_image(from_0, x0) * a + per_image(from_t, x0) * b) / per_image(from_0 + from_t, x0);
}

bool agree(const Tensor& a, const Tensor& b) { return max_relative_difference(a, b) < 1e-8; }

TEST_CASE("Cas-DM keeps its identities on every path") {
  for (const Path& path : paths()) {
    INFO(path.name);
    const NoiseScheduler& schedule = *path.schedule;
    const Bench bench("cascade", "", path.schedule);
    const TrainingBatch batch = batch_on(path);
    const Estimate estimate = bench.estimate(batch);
    const Tensor s = schedule.previous(batch.t);
    const Tensor& r = estimate.gate;

    INFO("the noise's mean is the posterior mean at the clean image it implies");
    const Tensor mu_eps = mean_by_noise(schedule, batch.t, s, batch.x_t, estimate.eps);
    CHECK(agree(mu_eps, mean_by_image(schedule, batch.t, s, batch.x_t, estimate.x0_from_eps)));

    INFO("mixing means is mixing clean images");
    const Tensor mu_x0 = mean_by_image(schedule, batch.t, s, batch.x_t, estimate.x0);
    const Tensor mixed = r * estimate.x0 + (1 - r) * estimate.x0_from_eps;
    CHECK(agree(r * mu_x0 + (1 - r) * mu_eps, mean_by_image(schedule, batch.t, s, batch.x_t, mixed)));

    INFO("the mu loss is that of the means");
    const Tensor mu = r * mu_x0 + (1 - r) * mu_eps;
    const Tensor expected = mean_per_image((mean_by_image(schedule, batch.t, s, batch.x_t, batch.x0) - mu).square());
    CHECK(max_relative_difference(term(bench.head->losses(batch, NoMetric()), "mu").value, expected) < 1e-5);
  }
}

TEST_CASE("networks are told a path's own time and given x_t at the scale of images") {
  for (const Path& path : paths()) {
    INFO(path.name);
    const Bench bench("single", "", path.schedule);
    const TrainingBatch batch = batch_on(path);
    bench.estimate(batch);
    const TestBackbone& theta = bench.backbone("theta");
    CHECK(at::equal(theta.last_t, path.schedule->network_time(batch.t).to(at::kDouble)));
    CHECK(theta.last_x.std().item<double>() < 2);
  }
}

TEST_CASE("every prediction type implies the same noise and clean image when it is right, on every path") {
  for (const Path& path : paths()) {
    const TrainingBatch batch = batch_on(path);
    const NoiseScheduler& schedule = *path.schedule;
    const std::map<std::string, Tensor> right = {{"epsilon", batch.eps},
                                                 {"sample", batch.x0},
                                                 {"v_prediction", schedule.velocity(batch.x0, batch.t, batch.eps)},
                                                 {"flow", batch.eps - batch.x0}};
    for (const auto& [type, answer] : right) {
      INFO(path.name, ": ", type);
      const auto oracle = function([answer = answer](const Tensor&, const Tensor&) { return answer; });
      const Bench bench("single", "prediction_type = \"" + type + "\"\n", path.schedule, {{"theta", oracle}});
      const Estimate estimate = bench.estimate(batch);
      CHECK(largest(estimate.x0_from_eps - batch.x0) < 1e-9);
      CHECK(largest(estimate.eps - batch.eps) < 1e-9);
      for (const LossTerm& term : bench.head->losses(batch, NoMetric()).terms) CHECK(largest(term.value) < 1e-20);
    }
  }
}

}  // namespace
}  // namespace casdm
