#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fixture.h"

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
          {"flow", make<NoiseScheduler>("flow", "t_max = 0.999", {}), at::tensor({0.05, 0.5, 0.98}, at::kDouble)},
          {"edm", make<NoiseScheduler>("edm", "", {}), at::tensor({0.03, 1.0, 60.0}, at::kDouble)}};
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

/// The posterior mean by Bayes' rule: the precisions of x_s given x0 and given x_t are added.
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
    const Tensor expected = mean_of_images((mean_by_image(schedule, batch.t, s, batch.x_t, batch.x0) - mu).square());
    CHECK(max_relative_difference(term(bench.head->losses(batch, NoMetric()), "mu").value, expected) < 1e-5);
  }
}

TEST_CASE("networks get a path's own time, and x_t at the scale of images") {
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

TEST_CASE("every prediction type implies the same noise and clean image if it is exact, on every path") {
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

TEST_CASE("the simple loss may compare a different one of the four than is predicted, on every path") {
  const std::map<std::string, std::string> names = {
      {"epsilon", "eps"}, {"sample", "x0"}, {"v_prediction", "v"}, {"flow", "flow"}};
  for (const Path& path : paths()) {
    const TrainingBatch batch = batch_on(path);
    const NoiseScheduler& schedule = *path.schedule;
    const Tensor x0 = randn(3, {1, kChannels, kSize, kSize}).tanh().expand_as(batch.x0);
    const Tensor eps = schedule.predict_eps_from_x0(batch.x_t, batch.t, x0);
    const auto in_space = [&](const Tensor& image, const Tensor& noise) {
      return std::map<std::string, Tensor>{{"epsilon", noise},
                                           {"sample", image},
                                           {"v_prediction", schedule.velocity(image, batch.t, noise)},
                                           {"flow", noise - image}};
    };
    const std::map<std::string, Tensor> believed = in_space(x0, eps), right = in_space(batch.x0, batch.eps);
    for (const auto& [predicted, answer] : believed) {
      for (const auto& [compared, name] : names) {
        INFO(path.name, ": ", predicted, " by ", compared);
        const auto network = function([answer = answer](const Tensor&, const Tensor&) { return answer; });
        const Bench bench("single", "prediction_type = \"" + predicted + "\"\nloss_space = \"" + compared + "\"",
                          path.schedule, {{"theta", network}});
        const Tensor expected = mean_of_images((believed.at(compared) - right.at(compared)).square());
        CHECK(max_relative_difference(term(bench.head->losses(batch, NoMetric()), name).value, expected) < 1e-9);
      }
    }
  }
}

TEST_CASE("a weight on the clean image's error makes every prediction the same loss, on every path") {
  for (const Path& path : paths()) {
    const TrainingBatch batch = batch_on(path);
    const NoiseScheduler& schedule = *path.schedule;
    const Tensor x0 = randn(3, {1, kChannels, kSize, kSize}).tanh().expand_as(batch.x0);
    const Tensor eps = schedule.predict_eps_from_x0(batch.x_t, batch.t, x0);
    const Tensor snr = (schedule.alpha(path.t) / schedule.sigma(path.t)).square();
    const Tensor expected = (snr + 1) * mean_of_images((x0 - batch.x0).square());
    const std::map<std::string, Tensor> believed = {
        {"epsilon", eps}, {"sample", x0}, {"v_prediction", schedule.velocity(x0, batch.t, eps)}};
    for (const auto& [predicted, answer] : believed) {
      INFO(path.name, ": ", predicted);
      const auto network = function([answer = answer](const Tensor&, const Tensor&) { return answer; });
      const Bench bench("single", "prediction_type = \"" + predicted + "\"\nt_weight = \"snr_plus_one\"", path.schedule,
                        {{"theta", network}});
      CHECK(max_relative_difference(bench.head->losses(batch, NoMetric()).terms.at(0).value, expected) < 1e-9);
    }
  }
}

TEST_CASE("EDM's network has inputs and targets of variance 1 on every path if the images have sigma_data") {
  const std::vector<std::int64_t> shape = {3, kChannels, 32, 32};
  for (const Path& path : paths()) {
    INFO(path.name);
    const NoiseScheduler& schedule = *path.schedule;
    Tensor given;
    const auto network = function([&](const Tensor& x, const Tensor&) {
      given = x;
      return at::zeros_like(x);
    });
    const Bench bench("edm", "", path.schedule, {{"theta", network}});
    const TrainingBatch batch = noised_batch(schedule, 0.5 * randn(1, shape), path.t, randn(2, shape));
    const Tensor skipped = bench.estimate(batch).x0;
    const Tensor n = schedule.sigma(path.t).square() + 0.25 * schedule.alpha(path.t).square();
    const Tensor asked = (batch.x0 - skipped) / per_image(0.5 * schedule.sigma(path.t) / n.sqrt(), skipped);
    for (std::int64_t i = 0; i < 3; ++i) {
      CHECK(given[i].std().item<double>() == doctest::Approx(1).epsilon(0.1));
      CHECK(asked[i].std().item<double>() == doctest::Approx(1).epsilon(0.1));
    }
    // The weight makes the loss the error in the network's target; u starts at 0.
    const Tensor loss = term(bench.head->losses(batch, NoMetric()), "edm").value;
    CHECK(max_relative_difference(loss, mean_of_images(asked.square())) < 1e-5);
  }
}

TEST_CASE("EDM's head and a path that scales by sigma_data must agree") {
  const auto path = make<NoiseScheduler>("edm", "sigma_data = 0.3", {});
  CHECK_NOTHROW(Bench("edm", "sigma_data = 0.3", path));
  CHECK_THROWS_WITH_AS(Bench("edm", "", path), doctest::Contains("sigma_data = 0.5, but [noise] scales"), ConfigError);
  CHECK_NOTHROW(Bench("edm", "sigma_data = 0.3", make<NoiseScheduler>("flow", "", {})));
}

TEST_CASE("EDM's head can be trained where no signal is left") {
  const auto path = make<NoiseScheduler>("flow", "", {});
  const Bench bench("edm", "", path);
  const std::vector<std::int64_t> shape = {2, kChannels, kSize, kSize};
  const TrainingBatch batch =
      noised_batch(*path, randn(1, shape), at::tensor({0.5, 1.0}, at::kDouble), randn(2, shape));
  const Losses losses = bench.head->losses(batch, NoMetric());
  const Tensor loss = term(losses, "edm").value;
  loss.sum().backward();
  CHECK(loss.isfinite().all().item<bool>());
  CHECK(bench.head->modules()[1].module->parameters().at(0).second.grad().isfinite().all().item<bool>());
  CHECK(bench.estimate(batch).x0.isfinite().all().item<bool>());
}

TEST_CASE("EDM's table 1 on EDM's path") {
  const auto path = make<NoiseScheduler>("edm", "", {});
  const Tensor t = at::tensor({0.03, 1.0, 60.0}, at::kDouble), answer = randn(5, {3, kChannels, kSize, kSize});
  const Bench bench("edm", "", path, {{"theta", function([=](const Tensor&, const Tensor&) { return answer; })}});
  const TrainingBatch batch = noised_batch(*path, randn(1, answer.sizes()), t, randn(2, answer.sizes()));
  const Estimate estimate = bench.estimate(batch);
  const Tensor sigma = t.view({3, 1, 1, 1}), total = sigma.square() + 0.25;
  CHECK(max_relative_difference(bench.backbone("theta").last_x, batch.x_t / total.sqrt()) < 1e-12);
  CHECK(max_relative_difference(bench.backbone("theta").last_t, 1000 * t.log() / 4) < 1e-12);
  CHECK(max_relative_difference(estimate.x0, 0.25 / total * batch.x_t + 0.5 * sigma / total.sqrt() * answer) < 1e-12);
  CHECK(max_relative_difference(batch.x_t, estimate.x0 + sigma * estimate.eps) < 1e-12);
  const Tensor weight = (t.square() + 0.25) / (0.25 * t.square());
  const Tensor expected = weight * mean_of_images((batch.x0 - estimate.x0).square());
  CHECK(max_relative_difference(term(bench.head->losses(batch, NoMetric()), "edm").value, expected) < 1e-6);
}

TEST_CASE("EDM's learned weight divides the loss where it is uncertain, and is found by training only the weight") {
  const auto path = make<NoiseScheduler>("edm", "", {});
  const Bench bench("edm", "", path, {{"theta", function([](const Tensor& x, const Tensor&) { return 3 * x; })}});
  const std::vector<NamedModule> modules = bench.head->modules();
  REQUIRE(modules.size() == 2);
  CHECK(modules[1].name == "uncertainty");
  CHECK_FALSE(bench.head->gradients_are_separate());
  const Tensor weight = modules[1].module->parameters().at(0).second;
  const Tensor t = at::full({4}, 1.0, at::kDouble);
  const std::vector<std::int64_t> shape = {4, kChannels, kSize, kSize};
  const TrainingBatch batch = noised_batch(*path, randn(1, shape), t, randn(2, shape));
  const double plain = term(bench.head->losses(batch, NoMetric()), "edm").value.mean().item<double>();
  for (int step = 0; step < 200; ++step) {
    weight.mutable_grad() = Tensor();
    term(bench.head->losses(batch, NoMetric()), "edm").value.mean().backward();
    const at::NoGradGuard no_grad;
    weight.sub_(0.02 * weight.grad());
  }
  // The minimum of L / e^u + u is at u = ln L, where it is 1 + ln L.
  const double least = term(bench.head->losses(batch, NoMetric()), "edm").value.mean().item<double>();
  CHECK(least == doctest::Approx(1 + std::log(plain)).epsilon(1e-3));
  const Bench fixed("edm", "learned_weight = false", path);
  CHECK(fixed.head->modules().size() == 1);
  CHECK(fixed.head->gradients_are_separate());
}

}  // namespace
}  // namespace casdm
