#include <doctest/doctest.h>

#include <numbers>

#include "fixture.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

const std::vector<std::int64_t> kSingleTimes = {0, 5, 20, 49};
const std::vector<std::string> kPredictionTypes = {"epsilon", "sample", "v_prediction"};

/// A single head whose network always predicts the clean image `x0`, in the terms of `type`.
Bench believer(const std::string& type, const std::string& options, const Tensor& x0) {
  const auto schedule = linear_schedule(50);
  return Bench("single", "prediction_type = \"" + type + "\"\n" + options, schedule,
               {{"theta", function([=](const Tensor& x_t, const Tensor& t) {
                   const Tensor image = x0.expand_as(x_t);
                   const Tensor eps = schedule->predict_eps_from_x0(x_t, t, image);
                   if (type == "epsilon") return eps;
                   return type == "sample" ? image : schedule->velocity(image, t, eps);
                 })}});
}

std::string loss_name(const std::string& type) { return type == "epsilon" ? "eps" : type == "sample" ? "x0" : "v"; }

/// A network with constant mean and variance outputs.
FakeFactory::Maker outputs(const Tensor& mean, const Tensor& v) {
  return function([=](const Tensor& x, const Tensor&) { return at::cat({mean.expand_as(x), v.expand_as(x)}, 1); });
}

/// The distribution function of the normal distribution.
double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

}  // namespace

TEST_CASE("single: the same predicted clean image gives the same estimate in every prediction type") {
  const Tensor x0 = randn(3, {1, kChannels, kSize, kSize}).tanh();
  for (const std::string& type : kPredictionTypes) {
    CAPTURE(type);
    const Bench bench = believer(type, "", x0);
    const TrainingBatch batch = bench.batch(kSingleTimes);
    const Estimate estimate = bench.estimate(batch);
    CHECK(largest_difference(estimate.x0_from_eps, x0) < 1e-11);
    CHECK(largest_difference(estimate.eps, bench.schedule->predict_eps_from_x0(batch.x_t, batch.t, x0)) < 1e-11);
    CHECK_FALSE(estimate.gate.defined());
    CHECK_FALSE(estimate.variance.defined());
    CHECK(estimate.x0.defined() == (type == "sample"));
    const Losses losses = bench.head->losses(batch, NoMetric());
    REQUIRE(losses.terms.size() == 1);
    CHECK(losses.terms[0].name == loss_name(type));
    CHECK(losses.terms[0].module == "theta");
  }
}

TEST_CASE("single: the losses of the prediction types differ by the signal-to-noise ratio") {
  // |eps - eps'|^2 = SNR |x0 - x0'|^2 and |v - v'|^2 = (SNR + 1) |x0 - x0'|^2.
  const Tensor x0 = randn(3, {1, kChannels, kSize, kSize}).tanh();
  const auto loss = [&](const std::string& type, const std::string& options) {
    const Bench bench = believer(type, options, x0);
    return bench.head->losses(bench.batch(kSingleTimes), NoMetric()).terms.at(0).value;
  };
  const auto schedule = linear_schedule(50);
  const Tensor a = at_t(schedule->alphas_cumprod(), at::tensor(kSingleTimes, at::kLong)).flatten();
  const Tensor snr = a / (1 - a);
  const Tensor error = loss("sample", "");
  CHECK(max_relative_difference(loss("epsilon", ""), snr * error) < 1e-11);
  CHECK(max_relative_difference(loss("v_prediction", ""), (snr + 1) * error) < 1e-11);

  INFO("so a weight of the clean image makes them one loss");
  const std::map<std::string, Tensor> expected = {
      {"t_weight = \"snr\"", snr},
      {"t_weight = \"snr_plus_one\"", snr + 1},
      {"t_weight = \"truncated_snr\"", snr.clamp_min(1)},
      {"t_weight = \"min_snr\"\nsnr_gamma = 3.0", snr.clamp_max(3)},
      {"t_weight = \"p2\"", snr / (1 + snr)},
      {"t_weight = \"p2\"\np2_k = 2.0\np2_gamma = 0.5", snr / (2 + snr).sqrt()},
      {"t_weight = \"p2\"\np2_gamma = 0.0", snr},
  };
  REQUIRE(snr.min().item<double>() < 1);
  REQUIRE(snr.max().item<double>() > 3);
  for (const std::string& type : kPredictionTypes) {
    for (const auto& [options, weight] : expected) {
      CAPTURE(type);
      CAPTURE(options);
      CHECK(max_relative_difference(loss(type, options), weight * error) < 1e-11);
    }
  }
  CHECK(at::equal(loss("epsilon", "t_weight = \"uniform\""), loss("epsilon", "")));
}

TEST_CASE("single: the bound for a learned variance has its closed form") {
  // N(c1 x0 + .., beta~) against N(c1 x0' + .., exp((1+v)/2 log beta + (1-v)/2 log beta~)).
  const Tensor mean = randn(3, {1, kChannels, kSize, kSize}), v = randn(4, {1, kChannels, kSize, kSize});
  const Bench bench("single", "variance = \"learned_range\"", linear_schedule(50), {{"theta", outputs(mean, v)}});
  CHECK(bench.backbone("theta").spec.out_channels == 2 * kChannels);
  const TrainingBatch batch = bench.batch({5, 20, 49});
  const Estimate estimate = bench.estimate(batch);
  CHECK(at::equal(estimate.variance, v.expand_as(batch.x0)));

  const Tensor low = at_t(bench.schedule->posterior_variance(), batch.t).log();
  const Tensor high = at_t(bench.schedule->betas(), batch.t).log();
  const Tensor log_variance = (1 + v) / 2 * high + (1 - v) / 2 * low;
  const Tensor difference = bench.schedule->posterior_mean(batch.x0, batch.x_t, batch.t) -
                            bench.schedule->posterior_mean(estimate.x0_from_eps, batch.x_t, batch.t);
  const Tensor kl = (log_variance - low + ((low.exp() + difference.square()) / log_variance.exp()) - 1) / 2;
  const LossTerm vlb = term(bench.head->losses(batch, NoMetric()), "vlb");
  CHECK(max_relative_difference(vlb.value, mean_of_images(kl) / std::numbers::ln2) < 1e-11);
  CHECK(vlb.weight == doctest::Approx(0.001 * 50));
}

TEST_CASE("single: at the first timestep the bound is the likelihood of 8-bit levels") {
  const auto schedule = linear_schedule(50);
  const Tensor v = at::zeros({1}, at::kDouble);
  const Bench bench("single", "variance = \"learned_range\"\nprediction_type = \"sample\"", schedule,
                    {{"theta", outputs(at::full({1}, 0.1, at::kDouble), v)}});
  const double deviation =
      std::exp(0.25 * (schedule->posterior_log_variance_clipped()[0] + std::log(schedule->betas()[0])));
  for (const int level : {0, 100, 140, 160, 255}) {
    CAPTURE(level);
    const double value = level / 127.5 - 1;
    TrainingBatch batch = bench.batch({0});
    batch.x0.fill_(value);
    batch.x_t = schedule->q_sample(batch.x0, batch.t, batch.eps);
    const double above = level == 255 ? 1 : normal_cdf((value + 1.0 / 255 - 0.1) / deviation);
    const double below = level == 0 ? 0 : normal_cdf((value - 1.0 / 255 - 0.1) / deviation);
    const double actual = term(bench.head->losses(batch, NoMetric()), "vlb").value.item<double>();
    if (above - below > 1e-3) {
      // The tanh form of the distribution function is accurate to 2e-4, so log2 is accurate to 2 * 2e-4 / 1e-3 / ln 2.
      CHECK(actual == doctest::Approx(-std::log2(above - below)).epsilon(0.02));
    } else {
      CHECK(actual > 9);
      CHECK(actual < 40);
    }
  }
}

TEST_CASE("single: the hybrid loss trains the variance by the bound and the mean by the error; vlb trains both") {
  const auto gradients = [](const std::string& options, const std::string& name) {
    const Bench bench("single", "variance = \"learned_range\"\n" + options, linear_schedule(50));
    term(bench.head->losses(bench.batch(kSingleTimes), FakeMetric()), name).value.mean().backward();
    const Tensor gradient = bench.network("theta").out_weight.grad();
    const auto reached = [&](std::int64_t from) {
      return gradient.narrow(0, from, kChannels).ne(0).any().item<bool>();
    };
    return std::string(reached(0) ? "mean " : "") + (reached(kChannels) ? "variance" : "");
  };
  CHECK(gradients("", "eps") == "mean ");
  CHECK(gradients("", "vlb") == "variance");
  CHECK(gradients("", "metric.fake") == "mean ");
  CHECK(gradients("objective = \"vlb\"", "vlb") == "mean variance");

  const Bench full("single", "variance = \"learned_range\"\nobjective = \"vlb\"", linear_schedule(50));
  const Losses losses = full.head->losses(full.batch(kSingleTimes), NoMetric());
  REQUIRE(losses.terms.size() == 1);
  CHECK(losses.terms[0].weight == 50);
}

TEST_CASE("single: options that contradict each other are refused") {
  const auto schedule = linear_schedule(50);
  CHECK_THROWS_AS(Bench("single", "objective = \"vlb\"", schedule), ConfigError);
  CHECK_THROWS_AS(
      Bench("single", "objective = \"vlb\"\nvariance = \"learned_range\"\nt_weight = \"min_snr\"", schedule),
      ConfigError);
}

TEST_CASE("single: min-SNR caps at 5 unless told otherwise") {
  const auto schedule = linear_schedule(50);
  const auto loss = [&](const std::string& options) {
    const Bench bench("single", "prediction_type = \"sample\"\nt_weight = \"min_snr\"\n" + options, schedule);
    return term(bench.head->losses(bench.batch(kSingleTimes), NoMetric()), "x0").value;
  };
  CHECK(at::equal(loss(""), loss("snr_gamma = 5.0")));
  CHECK_FALSE(at::equal(loss(""), loss("snr_gamma = 5.005")));
}
