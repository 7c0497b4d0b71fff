#include <doctest/doctest.h>

#include "fixture.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

const std::vector<std::int64_t> kRoutedTimes = {0, 3, 20, 49};

/// A row of the gradient matrix: some parameters, or some rows (outputs) of a parameter.
struct Cell {
  Tensor parameter;
  std::int64_t from = 0;
  std::int64_t to = -1;

  Tensor values() const { return to < 0 ? parameter : parameter.narrow(0, from, to - from); }
  bool has_gradient() const {
    if (!parameter.grad().defined()) return false;
    const Tensor gradient = to < 0 ? parameter.grad() : parameter.grad().narrow(0, from, to - from);
    return gradient.ne(0).any().item<bool>();
  }
};
using Row = std::vector<Cell>;

Row all(const NamedTensors& parameters) {
  Row row;
  for (const auto& [name, tensor] : parameters) row.push_back({tensor});
  return row;
}

Row outputs(const TinyBackbone& network, std::int64_t from, std::int64_t to) {
  return {{network.out_weight, from, to}, {network.out_bias, from, to}};
}

bool any(const Row& row) {
  return std::any_of(row.begin(), row.end(), [](const Cell& cell) { return cell.has_gradient(); });
}
bool every(const Row& row) {
  return std::all_of(row.begin(), row.end(), [](const Cell& cell) { return cell.has_gradient(); });
}

/// Runs backward from the mean of a single term.
void differentiate(const Bench& bench, const TrainingBatch& batch, const std::string& name) {
  for (const NamedModule& module : bench.head->modules()) zero_gradients(*module.module);
  term(bench.head->losses(batch, FakeMetric()), name).value.mean().backward();
}

/// Largest difference between the gradients left by backward and central differences of `loss`.
double gradient_error(const NamedTensors& parameters, const std::function<Tensor()>& loss) {
  constexpr double kStep = 1e-5;
  const at::NoGradGuard no_grad;
  double error = 0;
  for (const auto& [name, parameter] : parameters) {
    const Tensor flat = parameter.view({-1});
    for (std::int64_t i = 0; i < flat.numel(); ++i) {
      const double value = flat[i].item<double>();
      flat[i].fill_(value + kStep);
      const double above = loss().mean().item<double>();
      flat[i].fill_(value - kStep);
      const double below = loss().mean().item<double>();
      flat[i].fill_(value);
      const double gradient = parameter.grad().defined() ? parameter.grad().view({-1})[i].item<double>() : 0.0;
      error = std::max(error, std::abs(gradient - (above - below) / (2 * kStep)));
    }
  }
  return error;
}

/// The truncation of central differences is h^2 = 1e-10, their rounding 1e-16 / h = 1e-11, times losses below 100.
constexpr double kDifferenceBound = 1e-8;

/// The four losses as functions of the networks, with everything fixed where the method stops gradients.
struct Reference {
  Reference(const Bench& bench, const TrainingBatch& batch)
      : bench(bench), batch(batch), fixed(bench.estimate(batch)) {}

  Tensor eps() const { return mean_of_images((batch.eps - bench.estimate(batch).eps).square()); }
  Tensor x0() const { return mean_of_images((batch.x0 - bench.estimate(batch).x0).square()); }
  Tensor metric() const { return FakeMetric().evaluate(bench.estimate(batch).x0, batch, "")[0].value; }
  Tensor mu() const {
    const BetaSchedule& s = *bench.schedule;
    const Tensor r = bench.estimate(batch).gate;
    const Tensor mu_x0 = s.posterior_mean(fixed.x0, batch.x_t, batch.t);
    const Tensor mu_eps = s.posterior_mean(fixed.x0_from_eps, batch.x_t, batch.t);
    const Tensor mu = r * mu_x0 + (1 - r) * mu_eps;
    return mean_of_images((s.posterior_mean(batch.x0, batch.x_t, batch.t) - mu).square());
  }

  const Bench& bench;
  const TrainingBatch& batch;
  Estimate fixed;
};

}  // namespace

TEST_CASE("cascade: each loss trains what the paper says and nothing else") {
  for (const std::string& options :
       {std::string(), std::string("output = \"residual\"\nsees_x_t = true\ngate_activation = \"linear\""),
        std::string("gate_shape = \"channel\"\ninput_clip = \"none\""), std::string("gate_shape = \"scalar\"")}) {
    CAPTURE(options);
    const Bench bench("cascade", options, linear_schedule(50));
    const TrainingBatch batch = bench.batch(kRoutedTimes);
    const Reference reference(bench, batch);
    const TinyBackbone &theta = bench.network("theta"), &phi = bench.network("phi");
    const Row trunk = all(phi.trunk());
    const Row x0_output = outputs(phi, 0, kChannels);
    const Row gate_output = outputs(phi, kChannels, phi.spec.out_channels);
    CHECK(bench.head->gradients_are_separate());

    differentiate(bench, batch, "eps");
    CHECK(every(all(theta.parameters())));
    CHECK(gradient_error(theta.parameters(), [&] { return reference.eps(); }) < kDifferenceBound);
    CHECK_FALSE(any(all(phi.parameters())));

    differentiate(bench, batch, "x0");
    CHECK_FALSE(any(all(theta.parameters())));
    CHECK(every(trunk));
    CHECK(every(x0_output));
    CHECK_FALSE(any(gate_output));
    CHECK(gradient_error(phi.parameters(), [&] { return reference.x0(); }) < kDifferenceBound);

    differentiate(bench, batch, "metric.fake");
    CHECK_FALSE(any(all(theta.parameters())));
    CHECK(every(trunk));
    CHECK(every(x0_output));
    CHECK_FALSE(any(gate_output));
    CHECK(gradient_error(phi.parameters(), [&] { return reference.metric(); }) < kDifferenceBound);

    differentiate(bench, batch, "mu");
    CHECK_FALSE(any(all(theta.parameters())));
    CHECK(every(trunk));
    CHECK_FALSE(any(x0_output));
    CHECK(every(gate_output));
    CHECK(gradient_error(phi.parameters(), [&] { return reference.mu(); }) < kDifferenceBound);
  }
}

TEST_CASE("cascade: without the stop-gradient the metric does reach theta") {
  const Bench bench("cascade", "detach_input = false\ninput_clip = \"none\"", linear_schedule(50));
  const TrainingBatch batch = bench.batch(kRoutedTimes);
  const Reference reference(bench, batch);
  const TinyBackbone& theta = bench.network("theta");
  CHECK_FALSE(bench.head->gradients_are_separate());
  for (const std::string name : {"x0", "metric.fake", "mu"}) {
    CAPTURE(name);
    differentiate(bench, batch, name);
    CHECK(every(all(theta.parameters())));
  }
  differentiate(bench, batch, "metric.fake");
  CHECK(gradient_error(theta.parameters(), [&] { return reference.metric(); }) < kDifferenceBound);
}

TEST_CASE("cascade: a gate with a detached trunk has its own network, which only the mu loss trains") {
  const Bench bench("cascade", "gate_detach_trunk = true", linear_schedule(50));
  const Module& phi_module = *bench.head->modules().at(1).module;
  const TinyBackbone& phi = bench.network("phi");
  REQUIRE(phi.spec.out_channels == kChannels);

  NamedTensors gate;
  for (auto& [name, tensor] : phi_module.parameters()) {
    tensor.set_data(tensor.to(at::kDouble));
    if (name.starts_with("gate_network.")) gate.emplace_back(name, tensor);
  }
  REQUIRE(gate.size() == 4);
  CHECK(phi_module.role("gate_network.out.weight") == ParameterRole::output);
  REQUIRE(phi_module.parameters().size() == gate.size() + phi.parameters().size());
  // Its first weights are uniform in +-1/sqrt(fan in): its generator's numbers in [-1, 1], scaled.
  REQUIRE(gate.front().first == "gate_network.in.weight");
  const Tensor weight = gate.front().second;
  const std::uint64_t seed = derive_seed(derive_seed(Bench::kSeed, "gate_network"), "in.weight");
  const Tensor unit = at::empty(weight.sizes(), at::kFloat).uniform_(-1, 1, make_generator(seed));
  const double fan_in = static_cast<double>(weight[0].numel());
  CHECK(largest_difference(weight * std::sqrt(fan_in), unit.to(at::kDouble)) < 1e-6);  // both rounded to float32
  const TrainingBatch batch = bench.batch(kRoutedTimes);
  CHECK(largest_difference(bench.estimate(batch).gate, at::full({1}, 0.5, at::kDouble)) == 0);
  {
    const at::NoGradGuard no_grad;
    for (auto& [name, tensor] : gate) tensor.copy_(randn(derive_seed(3, name), tensor.sizes()) * 0.3);

    // Its inputs: both clean images and a tenth of the log signal-to-noise ratio.
    const Estimate estimate = bench.estimate(batch);
    const Tensor a = at_t(bench.schedule->alphas_cumprod(), batch.t);
    const Tensor level = ((a / (1 - a)).log() / 10).expand({-1, 1, kSize, kSize});
    const Tensor seen = at::cat({estimate.x0, estimate.x0_from_eps.clamp(-1, 1), level}, 1);
    const std::int64_t one = 1;
    const Tensor hidden = at::silu(at::conv2d(seen, gate[0].second, gate[1].second, one, one));
    const Tensor expected = at::conv2d(hidden, gate[2].second, gate[3].second).sigmoid();
    CHECK(largest_difference(estimate.gate, expected) < 1e-12);
  }

  const Reference reference(bench, batch);
  differentiate(bench, batch, "mu");
  CHECK_FALSE(any(all(bench.network("theta").parameters())));
  CHECK_FALSE(any(all(phi.parameters())));
  CHECK(every(all(gate)));
  CHECK(gradient_error(gate, [&] { return reference.mu(); }) < kDifferenceBound);

  for (const std::string name : {"x0", "metric.fake"}) {
    differentiate(bench, batch, name);
    CHECK(every(all(phi.parameters())));
    CHECK_FALSE(any(all(gate)));
  }
}

TEST_CASE("cascade: a frozen theta has no gradient and no dropout, and its loss is only recorded") {
  const Bench bench("cascade", "train_mode = \"frozen_theta\"\ndetach_input = false", linear_schedule(50));
  TrainingBatch batch = bench.batch(kRoutedTimes);
  batch.seeds.assign(kRoutedTimes.size(), 1);
  batch.condition.augment = at::ones({batch.x0.size(0), 3});
  const Losses losses = bench.head->losses(batch, FakeMetric());
  CHECK(bench.backbone("theta").last_augment.is_same(batch.condition.augment));
  CHECK(bench.backbone("phi").last_augment.is_same(batch.condition.augment));
  CHECK_FALSE(bench.head->modules().at(0).is_trainable);
  CHECK(bench.head->modules().at(1).is_trainable);
  CHECK(bench.head->gradients_are_separate());
  CHECK_FALSE(term(losses, "eps").value.requires_grad());
  CHECK(bench.backbone("theta").last_dropout.seeds.empty());
  CHECK(bench.backbone("phi").last_dropout.seeds == batch.condition_for("phi").dropout.seeds);
  objective(losses).backward();
  CHECK_FALSE(any(all(bench.network("theta").parameters())));
  CHECK(every(all(bench.network("phi").parameters())));
}

TEST_CASE("dual: the metric reaches the network that predicts the noise") {
  const Bench bench("dual", "", linear_schedule(50));
  const TrainingBatch batch = bench.batch(kRoutedTimes);
  const Reference reference(bench, batch);
  const TinyBackbone& theta = bench.network("theta");
  const Row trunk = all(theta.trunk());
  const Row eps = outputs(theta, 0, kChannels), x0 = outputs(theta, kChannels, 2 * kChannels),
            gate = outputs(theta, 2 * kChannels, 2 * kChannels + 1);
  struct Expected {
    std::string name;
    bool eps, x0, gate;
    std::function<Tensor()> loss;
  };
  for (const Expected& expected : {Expected{"eps", true, false, false, [&] { return reference.eps(); }},
                                   Expected{"x0", false, true, false, [&] { return reference.x0(); }},
                                   Expected{"metric.fake", false, true, false, [&] { return reference.metric(); }},
                                   Expected{"mu", false, false, true, [&] { return reference.mu(); }}}) {
    CAPTURE(expected.name);
    differentiate(bench, batch, expected.name);
    CHECK(every(trunk));
    CHECK(any(eps) == expected.eps);
    CHECK(any(x0) == expected.x0);
    CHECK(any(gate) == expected.gate);
    CHECK(gradient_error(theta.parameters(), expected.loss) < kDifferenceBound);
  }
}

TEST_CASE("single: the metric trains theta through the clean image that its prediction implies") {
  for (const std::string type : {"epsilon", "sample", "v_prediction"}) {
    CAPTURE(type);
    const Bench bench("single", "prediction_type = \"" + type + "\"", linear_schedule(50));
    const TrainingBatch batch = bench.batch(kRoutedTimes);
    const TinyBackbone& theta = bench.network("theta");
    differentiate(bench, batch, "metric.fake");
    CHECK(every(all(theta.parameters())));
    CHECK(gradient_error(theta.parameters(), [&] {
            return FakeMetric().evaluate(bench.estimate(batch).x0_from_eps, batch, "")[0].value;
          }) < kDifferenceBound);
  }
}
