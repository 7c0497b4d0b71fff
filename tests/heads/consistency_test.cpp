#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

#include "casdm/head_network.h"
#include "casdm/text.h"
#include "fixture.h"
#include "support/captured.h"

namespace casdm {
namespace {

using namespace testing;

std::map<std::string, std::shared_ptr<NoiseScheduler>> paths_of_three_kinds() {
  return {{"edm", make<NoiseScheduler>("edm", "", {})},
          {"flow", make<NoiseScheduler>("flow", "t_max = 0.999", {})},
          {"cosine", make<NoiseScheduler>("cosine", "", {})}};
}

Bench bench_on(const std::shared_ptr<NoiseScheduler>& path, const std::string& options,
               const FakeFactory::Maker& network) {
  return {"consistency", options, path, {{"theta", network}, {"teacher", network}}};
}

/// Three images: with much noise, some, and hardly any.
TrainingBatch batch_on(const NoiseScheduler& path) {
  const Tensor t = path.time_at(at::tensor({-6.0, 0.0, 11.0}, at::kDouble));
  const std::vector<std::int64_t> shape = {3, kChannels, kSize, kSize};
  TrainingBatch batch =
      noised_batch(path, randn(1, shape).tanh(), path.range().is_whole ? t.round().to(at::kLong) : t, randn(2, shape));
  batch.total_images = 1000;
  return batch;
}

/// Records what it was given.
class KeptMetric : public MetricTerms {
 public:
  std::vector<LossTerm> evaluate(const Tensor& prediction, const TrainingBatch& batch,
                                 const std::string& module) const override {
    target = batch.target;
    this->prediction = prediction;
    return {{"metric.kept", squared_error(prediction, batch.target), 0.1, module}};
  }
  mutable Tensor target, prediction;
};

Tensor ratio(const NoiseScheduler& path, const Tensor& t) { return path.sigma(t) / path.alpha(t); }

TEST_CASE("a consistency model is the identity at the clean image, on every path and whatever the network") {
  for (const auto& [name, path] : paths_of_three_kinds()) {
    CAPTURE(name);
    const Bench bench = bench_on(path, "", tiny());
    const Tensor x = randn(3, {2, kChannels, kSize, kSize});
    const Tensor clean = at::full({2}, path->range().clean, at::kDouble);
    CHECK(largest_difference(bench.head->estimate({x, clean, {}, {}}).x0, x) < 1e-12);
  }
}

TEST_CASE(
    "the teacher gets the same image and noise one step closer to the image, and metrics compare with its result") {
  for (const auto& [name, path] : paths_of_three_kinds()) {
    CAPTURE(name);
    const Bench bench = bench_on(path, "first_steps = 10\n", tiny());
    const TrainingBatch batch = batch_on(*path);
    const KeptMetric metric;
    const Losses losses = bench.head->losses(batch, metric);
    CHECK(bench.backbone("teacher").last_t.isfinite().all().item<bool>());  // not the logarithm of zero noise
    // Equal steps of (sigma/alpha)^(1/7) from the least noise to the most.
    const auto seventh = [](const Tensor& r) { return r.pow(1.0 / 7); };
    const auto end = [&](double t) { return std::pow(path->level(t).ratio(), 1.0 / 7); };
    const TimeRange range = path->range();
    const Tensor wanted = seventh(ratio(*path, batch.t)) - (end(range.last) - end(range.first)) / 10;
    CHECK(wanted[0].item<double>() > end(range.first));
    CHECK(wanted[2].item<double>() < end(range.first));  // below the least noise, the time is that of the clean image
    Tensor s = path->time_at(-2 * 7 * wanted.clamp_min(1e-9).log());
    s[2].fill_(range.clean);
    const Tensor x_s = path->q_sample(batch.x0, s, batch.eps);
    // Teacher and student are made equal here, so the estimate is the teacher's.
    for (const auto& [parameter, tensor] : bench.network("teacher").parameters()) {
      for (const auto& [other, value] : bench.network("theta").parameters()) {
        if (parameter == other) tensor.detach().copy_(value.detach());
      }
    }
    bench.head->losses(batch, metric);
    CHECK(largest_difference(metric.target, bench.head->estimate({x_s, s, {}, {}}).x0) < 1e-6);
    CHECK(largest_difference(metric.target[2], batch.x0[2]) < 1e-9);
    CHECK(largest_difference(metric.prediction, bench.estimate(batch).x0) < 1e-12);
    CHECK_FALSE(metric.target.requires_grad());
  }
}

TEST_CASE("the consistency loss is the norm of the difference divided by the step, or its mean square") {
  const auto path = paths_of_three_kinds().at("edm");
  const TrainingBatch batch = batch_on(*path);
  const auto value = [&](const std::string& options) {
    const Bench bench = bench_on(path, options, tiny());
    const KeptMetric metric;
    const Losses losses = bench.head->losses(batch, metric);
    return std::pair{term(losses, "consistency").value, (metric.prediction - metric.target).flatten(1)};
  };
  const double c = 0.00054 * std::sqrt(kChannels * kSize * kSize);
  const auto [huber, difference] = value("pair_weight = \"uniform\"\n");
  CHECK(at::allclose(huber, (difference.square().sum(1) + c * c).sqrt() - c));
  const auto [squares, again] = value("pair_weight = \"uniform\"\ndistance = \"l2\"\n");
  CHECK(at::allclose(squares, again.square().mean(1)));
  const Tensor weight = value("").first / huber;
  // With 10 steps from 0.002 to 80, at the most noise of the batch, sigma = e^3.
  const double least = std::pow(0.002, 1.0 / 7), most = std::pow(80.0, 1.0 / 7), at_t = std::exp(3.0 / 7);
  const double below = std::pow(at_t - (most - least) / 10, 7);
  CHECK(weight[0].item<double>() == doctest::Approx(1 / (std::exp(3.0) - below)).epsilon(1e-6));
  CHECK(weight[2].item<double>() == doctest::Approx(std::exp(5.5)).epsilon(1e-4));  // down to the clean image
}

TEST_CASE("the consistency loss trains theta and not the teacher, which is its average") {
  const Bench bench = bench_on(paths_of_three_kinds().at("flow"), "teacher_decay = 0.95\n", tiny());
  const std::vector<NamedModule> modules = bench.head->modules();
  REQUIRE(modules.size() == 2);
  CHECK(modules[1].average_of == "theta");
  CHECK(modules[1].average_decay == 0.95);
  CHECK_FALSE(modules[1].is_trainable);
  objective(bench.head->losses(batch_on(*bench.path), KeptMetric())).backward();
  for (const auto& [name, parameter] : bench.network("theta").parameters()) CHECK(largest(parameter.grad()) > 0);
  for (const auto& [name, parameter] : bench.network("teacher").parameters()) CHECK_FALSE(parameter.grad().defined());
}

TEST_CASE("student and teacher have the same dropout, and the steps double during the training") {
  const auto path = paths_of_three_kinds().at("edm");
  const Bench bench = bench_on(path, "first_steps = 4\nlast_steps = 32\n", tiny());
  TrainingBatch batch = batch_on(*path);
  batch.seeds = {1, 2, 3};
  bench.head->losses(batch, NoMetric());
  CHECK(bench.backbone("theta").last_dropout.seeds == bench.backbone("teacher").last_dropout.seeds);
  CHECK(bench.backbone("theta").last_dropout.seeds.size() == 3);
  // One step down from 80 of the last number N, in the ratio that the weight shows.
  const double least = std::pow(0.002, 1.0 / 7), most = std::pow(80.0, 1.0 / 7), at_t = std::exp(3.0 / 7);
  const KeptMetric metric;
  for (const auto& [seen, steps] :
       {std::pair<std::int64_t, double>{0, 4}, {249, 4}, {250, 8}, {500, 16}, {750, 32}, {1000, 32}}) {
    CAPTURE(seen);
    batch.images_seen = seen;
    Losses losses;
    const std::string said = stderr_of([&] { losses = bench.head->losses(batch, metric); });
    // Reported once each; a resume with more images, where N falls back, reports it again.
    CHECK(said.empty() == (seen == 249 || seen == 1000 || seen == 0));
    CHECK((said.empty() ||
           said.find(text(steps, " discretisation steps at this point of train.total_images")) != std::string::npos));
    CHECK(losses.statistics.back().name == "steps");
    CHECK(losses.statistics.back().value.mean().item<double>() == steps);
    const Tensor value = term(losses, "consistency").value;
    const Tensor difference = (metric.prediction - metric.target).flatten(1);
    const double c = 0.00054 * std::sqrt(kChannels * kSize * kSize);
    const Tensor plain = (difference.square().sum(1) + c * c).sqrt() - c;
    const double below = std::pow(std::max(at_t - (most - least) / steps, least), 7);
    CHECK((plain / value)[0].item<double>() == doctest::Approx(std::exp(3.0) - below).epsilon(1e-6));
  }
}

TEST_CASE("the steps reach last_steps before the end of the training, whatever its ratio to first_steps") {
  const auto steps = [](const char* options, std::int64_t seen) {
    const auto path = paths_of_three_kinds().at("edm");
    TrainingBatch batch = batch_on(*path);
    batch.images_seen = seen;
    const Losses losses = bench_on(path, options, tiny()).head->losses(batch, NoMetric());
    return losses.statistics.back().value.mean().item<double>();
  };
  // Doubled after each 1 / (log2(10) + 1) = 0.2314 of the training.
  for (const auto& [seen, expected] : {std::pair{0, 10},
                                       {231, 10},
                                       {232, 20},
                                       {462, 20},
                                       {463, 40},
                                       {694, 40},
                                       {695, 80},
                                       {925, 80},
                                       {926, 100},
                                       {999, 100}}) {
    CHECK_MESSAGE(steps("first_steps = 10\nlast_steps = 100\n", seen) == expected, seen);
  }
  CHECK(steps("first_steps = 10\nlast_steps = 19\n", 518) == 10);  // log2(1.9) = 0.926
  CHECK(steps("first_steps = 10\nlast_steps = 19\n", 520) == 19);
  CHECK(steps("first_steps = 10\nlast_steps = 10\n", 999) == 10);
}

TEST_CASE("a consistency model refuses decreasing steps, and paths that end in pure noise") {
  CHECK_THROWS_WITH_AS(bench_on(paths_of_three_kinds().at("edm"), "first_steps = 20\nlast_steps = 10\n", tiny()),
                       doctest::Contains("expected at least first_steps = 20"), ConfigError);
  CHECK_THROWS_WITH_AS(bench_on(make<NoiseScheduler>("flow", "", {}), "", tiny()),
                       doctest::Contains("ends in pure noise"), ConfigError);
  CHECK_THROWS_WITH_AS(bench_on(paths_of_three_kinds().at("edm"), "sigma_data = 0.3\n", tiny()),
                       doctest::Contains("same sigma_data"), ConfigError);
}

}  // namespace
}  // namespace casdm
