#include <doctest/doctest.h>

#include "fixture.h"
#include "support/messages.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

const std::vector<std::int64_t> kSomeTimes = {0, 20, 49};

std::vector<std::string> names(const Losses& losses) {
  std::vector<std::string> names;
  for (const LossTerm& term : losses.terms) names.push_back(term.name);
  return names;
}

/// A phi that returns its input and `raw` as the gate's output.
FakeFactory::Maker copying_phi(double raw) {
  return function([raw](const Tensor& x, const Tensor&) {
    return at::cat({x.narrow(1, 0, kChannels), at::full({x.size(0), 1, kSize, kSize}, raw, x.options())}, 1);
  });
}

}  // namespace

TEST_CASE("cascade: phi gets the clipped x0* and t, and x_t only if requested") {
  const auto schedule = linear_schedule(50);
  const Bench standard("cascade", "", schedule), raw("cascade", "input_clip = \"none\"", schedule),
      both("cascade", "sees_x_t = true", schedule);
  TrainingBatch batch = standard.batch(kSomeTimes);
  const Tensor x0_from_eps = standard.estimate(batch).x0_from_eps;
  raw.estimate(batch);
  both.estimate(batch);
  REQUIRE(largest(x0_from_eps) > 1);
  CHECK(at::equal(standard.backbone("phi").last_x, x0_from_eps.clamp(-1, 1)));
  CHECK(at::equal(raw.backbone("phi").last_x, x0_from_eps));
  CHECK(both.backbone("phi").spec.image.channels == 2 * kChannels);
  CHECK(at::equal(both.backbone("phi").last_x, at::cat({x0_from_eps.clamp(-1, 1), batch.x_t}, 1)));
  CHECK(at::equal(standard.backbone("theta").last_x, batch.x_t));
  CHECK(at::equal(standard.backbone("phi").last_t, batch.t.to(at::kDouble)));
}

TEST_CASE("labels reach every network, dropout none in sampling, and fractional timesteps are passed unchanged") {
  const Bench bench("cascade", "", linear_schedule(50));
  TrainingBatch batch = bench.batch(kSomeTimes);
  batch.condition.labels = at::tensor({2, 0, 1}, at::kLong);
  const Tensor t = at::tensor({0.25, 20.0, 48.5}, at::kDouble);
  const Estimate estimate = bench.head->estimate({batch.x_t, t, {}, batch.condition});
  for (const std::string name : {"theta", "phi"}) {
    CHECK(at::equal(bench.backbone(name).last_labels, batch.condition.labels));
    CHECK(at::equal(bench.backbone(name).last_t, t));
    CHECK(bench.backbone(name).last_dropout.seeds.empty());
  }
  CHECK(at::equal(estimate.x0[1], bench.estimate(batch).x0[1]));
}

TEST_CASE("the gate's shapes and activations") {
  const auto schedule = linear_schedule(50);
  for (const auto& [shape, channels, sizes] :
       {std::tuple{std::string("spatial"), 1, std::vector<std::int64_t>{3, 1, kSize, kSize}},
        std::tuple{std::string("scalar"), 1, std::vector<std::int64_t>{3, 1, 1, 1}},
        std::tuple{std::string("channel"), 2, std::vector<std::int64_t>{3, kChannels, 1, 1}}}) {
    const std::string options = "gate_shape = \"" + shape + "\"";
    for (const std::string type : {"cascade", "dual"}) {
      const Bench bench(type, options, schedule);
      const std::int64_t images = type == "dual" ? 2 * kChannels : kChannels;
      CHECK(bench.backbone(type == "dual" ? "theta" : "phi").spec.out_channels == images + channels);
      CHECK(bench.estimate(bench.batch(kSomeTimes)).gate.sizes() == at::IntArrayRef(sizes));
    }
  }
  const auto gate = [&](const std::string& activation, double raw) {
    const Bench bench("cascade", "gate_activation = \"" + activation + "\"", schedule,
                      {{"theta", tiny()}, {"phi", copying_phi(raw)}});
    return bench.estimate(bench.batch({5})).gate.max().item<double>();
  };
  for (const std::string activation : {"sigmoid", "clamp", "linear"}) CHECK(gate(activation, 0) == 0.5);
  CHECK(gate("sigmoid", 2) == doctest::Approx(1 / (1 + std::exp(-2.0))).epsilon(1e-14));
  CHECK(gate("clamp", 0.25) == 0.75);
  CHECK(gate("clamp", 2) == 1);
  CHECK(gate("clamp", -2) == 0);
  CHECK(gate("linear", 2) == 2.5);
}

TEST_CASE("terms carry their names, weights and modules; statistics the gate and the errors") {
  const std::string weights = "weights = { eps = 2.0, x0 = 3.0, mu = 4.0 }";
  for (const std::string type : {"cascade", "dual"}) {
    const Bench bench(type, weights, linear_schedule(50));
    const TrainingBatch batch = bench.batch(kSomeTimes);
    const Losses losses = bench.head->losses(batch, FakeMetric());
    CHECK(names(losses) == std::vector<std::string>{"eps", "x0", "mu", "metric.fake"});
    CHECK(term(losses, "eps").weight == 2);
    CHECK(term(losses, "x0").weight == 3);
    CHECK(term(losses, "mu").weight == 4);
    const std::string image_module = type == "dual" ? "theta" : "phi";
    CHECK(term(losses, "eps").module == "theta");
    for (const std::string name : {"x0", "mu", "metric.fake"}) CHECK(term(losses, name).module == image_module);
    for (const LossTerm& term : losses.terms) CHECK(term.value.sizes() == at::IntArrayRef({3}));

    const Tensor gate = bench.estimate(batch).gate;
    CHECK(losses.statistics.at(0).name == "gate");
    CHECK(largest_difference(losses.statistics.at(0).value, mean_of_images(gate)) < 1e-15);
    for (const Statistic& statistic : losses.statistics) {
      CHECK(statistic.value.sizes() == at::IntArrayRef({3}));
      CHECK_FALSE(statistic.value.requires_grad());
    }
  }
}

TEST_CASE("what follows the networks keeps the images' precision, even when autocast lowers their outputs") {
  const auto lowered = [](std::int64_t channels) {
    return function([channels](const Tensor& x, const Tensor&) {
      return x.narrow(1, 0, 1).expand({-1, channels, -1, -1}).to(at::kBFloat16);
    });
  };
  const Bench bench("cascade", "", linear_schedule(1000),
                    {{"theta", lowered(kChannels)}, {"phi", lowered(kChannels + 1)}});
  const TrainingBatch batch = bench.batch({0, 500, 999}, at::kFloat);
  const Estimate estimate = bench.estimate(batch);
  for (const Tensor& tensor : {estimate.eps, estimate.x0_from_eps, estimate.x0, estimate.gate}) {
    const bool keeps_dtype = tensor.scalar_type() == at::kFloat;
    CHECK(keeps_dtype);
  }
  const Tensor eps = batch.x_t.narrow(1, 0, 1).to(at::kBFloat16).to(at::kFloat).expand_as(batch.x_t);
  CHECK(at::equal(estimate.x0_from_eps, bench.schedule->predict_x0_from_eps(batch.x_t, batch.t, eps)));
}

TEST_CASE("a module's weights depend on the head's seed and its name, not on the kind of head") {
  const auto schedule = linear_schedule(50);
  const Bench cascade("cascade", "", schedule), dual("dual", "", schedule), single("single", "", schedule);
  const std::uint64_t seed = derive_seed(Bench::kSeed, "theta");
  for (const Bench* bench : {&cascade, &dual, &single}) CHECK(bench->backbone("theta").spec.seed == seed);
  CHECK(cascade.backbone("phi").spec.seed == derive_seed(Bench::kSeed, "phi"));
  CHECK(cascade.head->modules().at(0).name == "theta");
  CHECK(cascade.head->modules().at(1).name == "phi");
  CHECK(cascade.head->modules().at(1).module == cascade.head->modules().at(1).module);
}

TEST_CASE("a backbone that returns another shape is named") {
  const Bench bench("cascade", "", linear_schedule(50),
                    {{"theta", tiny()}, {"phi", function([](const Tensor& x, const Tensor&) { return x; })}});
  CHECK_THROWS_WITH_AS(bench.estimate(bench.batch({0})),
                       "backbone of 'phi' returned a tensor of shape [1, 2, 4, 4], expected [1, 3, 4, 4]", Error);
}

TEST_CASE("a backbone that returns a sparse tensor or one of another type is named") {
  const auto message = [](const std::function<Tensor(const Tensor&)>& changed) {
    const Bench bench("single", "", linear_schedule(50),
                      {{"theta", function([&](const Tensor& x, const Tensor&) { return changed(x); })}});
    return message_of<Error>([&] { bench.estimate(bench.batch({0})); });
  };
  CHECK(message([](const Tensor& x) { return at::complex(x, x); }).find("of type ComplexDouble") != std::string::npos);
  CHECK(message([](const Tensor& x) { return x.to_sparse(); }).find("sparse; expected a dense") != std::string::npos);
  CHECK(message([](const Tensor& x) { return x.to(at::kLong); }).find("of type Long") != std::string::npos);
}

TEST_CASE("a schedule that ends in pure noise is refused if the noise must imply an image") {
  const auto zero_signal = std::make_shared<BetaSchedule>(std::vector<double>{0.1, 0.5, 1.0});
  CHECK_THROWS_AS(Bench("cascade", "", zero_signal), ConfigError);
  CHECK_THROWS_AS(Bench("dual", "", zero_signal), ConfigError);
  CHECK_THROWS_AS(Bench("single", "", zero_signal), ConfigError);
  // A signal that is above 0 only in float64.
  const auto lost = std::make_shared<BetaSchedule>(std::vector<double>(1000, 0.5));
  REQUIRE(lost->alphas_cumprod().back() > 0);
  for (const char* type : {"cascade", "dual", "single"}) CHECK_THROWS_AS(Bench(type, "", lost), ConfigError);
  const Bench v("single", "prediction_type = \"v_prediction\"", zero_signal);
  const Estimate estimate = v.estimate(v.batch({2}));
  CHECK(estimate.x0_from_eps.isfinite().all().item<bool>());
  CHECK(estimate.eps.isfinite().all().item<bool>());
}
