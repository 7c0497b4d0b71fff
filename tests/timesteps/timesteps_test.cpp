#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/timestep_sampler.h"
#include "support/components.h"

namespace casdm {
namespace {

using Sampler = std::shared_ptr<TimestepSampler>;

Sampler sampler(const std::string& type, std::int64_t T, const std::string& options = "") {
  const auto schedule = testing::make_beta_schedule(
      "linear", "scale_with_timesteps = false\nnum_train_timesteps = " + std::to_string(T), {});
  return testing::make<TimestepSampler>(type, options, {schedule});
}

std::vector<double> uniform_numbers(std::int64_t count, std::uint64_t seed) {
  std::vector<double> u;
  for (std::int64_t i = 0; i < count; ++i) u.push_back(uniform(derive_seed(seed, "u", static_cast<std::uint64_t>(i))));
  return u;
}

/// An even grid over [0, 1): draws from it have the frequencies of the distribution to within 1 / count.
std::vector<double> grid(std::int64_t count) {
  std::vector<double> u;
  for (std::int64_t i = 0; i < count; ++i) u.push_back((static_cast<double>(i) + 0.5) / static_cast<double>(count));
  return u;
}

std::vector<double> frequencies(const TimestepDraw& draw, std::int64_t T) {
  std::vector<double> result(static_cast<std::size_t>(T), 0);
  for (const double t : draw.t) result[static_cast<std::size_t>(t)] += 1.0 / static_cast<double>(draw.t.size());
  return result;
}

/// Pearson's chi-square of `count` draws against `expected`, in standard deviations of its distribution.
double chi_square_deviation(const std::vector<double>& seen, const std::vector<double>& expected, double count) {
  double sum = 0;
  for (std::size_t t = 0; t < seen.size(); ++t) {
    sum += count * (seen[t] - expected[t]) * (seen[t] - expected[t]) / expected[t];
  }
  const double degrees = static_cast<double>(seen.size()) - 1;
  return (sum - degrees) / std::sqrt(2 * degrees);
}

/// An arbitrary function of t.
double f(std::int64_t t) { return 1 + std::sin(0.3 * static_cast<double>(t)) + 0.01 * static_cast<double>(t * t); }

double mean_of_f(std::int64_t T) {
  double sum = 0;
  for (std::int64_t t = 0; t < T; ++t) sum += f(t);
  return sum / static_cast<double>(T);
}

double weighted_mean_of_f(const TimestepDraw& draw) {
  double sum = 0;
  for (std::size_t i = 0; i < draw.t.size(); ++i) sum += draw.weight[i] * f(draw.t[i]);
  return sum / static_cast<double>(draw.t.size());
}

/// F(s) of a logit-normal distribution.
double logit_normal_cdf(double s, double mean, double std) {
  if (s <= 0) return 0;
  if (s >= 1) return 1;
  return 0.5 * (1 + std::erf((std::log(s / (1 - s)) - mean) / (std * std::sqrt(2.0))));
}

LossTerm term(const std::string& name, const std::vector<double>& values, double weight = 1) {
  return {name, at::tensor(values, at::kDouble).to(at::kFloat), weight, "theta"};
}

void observe(TimestepSampler& sampler, std::int64_t t, double loss) {
  sampler.observe(at::tensor({t}, at::kLong).to(at::kDouble), {term("eps", {loss})});
}

/// Probabilities of a warmed-up sampler as guided-diffusion computes them from a history [T, history].
std::vector<double> resampler_formula(const std::vector<std::vector<double>>& history, double uniform_prob) {
  std::vector<double> p;
  for (const std::vector<double>& losses : history) {
    double squares = 0;
    for (const double loss : losses) squares += loss * loss;
    p.push_back(std::sqrt(squares / static_cast<double>(losses.size())));
  }
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value = value / total * (1 - uniform_prob) + uniform_prob / static_cast<double>(p.size());
  return p;
}

}  // namespace

TEST_CASE("uniform timesteps are those that a run draws without a sampler, with weight 1") {
  const std::vector<double> u = uniform_numbers(500, 1);
  const TimestepDraw draw = sampler("uniform", 100)->draw(u);
  for (std::size_t i = 0; i < u.size(); ++i) {
    CHECK(draw.t[i] == static_cast<std::int64_t>(u[i] * 100));
    CHECK(draw.weight[i] == 1);
  }
  const double count = 40000;
  const TimestepDraw many = sampler("uniform", 20)->draw(uniform_numbers(40000, 2));
  // With fixed seeds, more than 4 standard deviations mean that the distribution is wrong.
  CHECK(std::abs(chi_square_deviation(frequencies(many, 20), std::vector<double>(20, 0.05), count)) < 4);
}

TEST_CASE("spread timesteps visit every part of the diffusion once per batch") {
  for (const std::string spread : {"stratified", "low_discrepancy"}) {
    const Sampler spread_out = sampler("uniform", 1000, "spread = \"" + spread + "\"");
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
      std::set<std::int64_t> parts;
      for (const double t : spread_out->draw(uniform_numbers(8, seed)).t)
        parts.insert(static_cast<std::int64_t>(t) / 125);
      CHECK_MESSAGE(parts.size() == 8, spread);
    }
  }
  const TimestepDraw stratified = sampler("uniform", 1000, "spread = \"stratified\"")->draw({0.5, 0.0, 0.96, 0.25});
  CHECK(stratified.t == std::vector<double>{125, 250, 740, 812});
  const TimestepDraw even = sampler("uniform", 1000, "spread = \"low_discrepancy\"")->draw({0.6, 0.1, 0.2, 0.3});
  CHECK(even.t == std::vector<double>{600, 850, 100, 350});
}

TEST_CASE("spread timesteps keep the mean of a function of t, and lower its variance") {
  const double expected = mean_of_f(200);
  std::map<std::string, double> variances;
  for (const std::string spread : {"independent", "stratified", "low_discrepancy"}) {
    const Sampler drawn = sampler("uniform", 200, "spread = \"" + spread + "\"");
    double sum = 0;
    double squares = 0;
    constexpr int kBatches = 2000;
    for (int batch = 0; batch < kBatches; ++batch) {
      const double mean = weighted_mean_of_f(drawn->draw(uniform_numbers(16, static_cast<std::uint64_t>(batch))));
      sum += mean;
      squares += mean * mean;
    }
    const double mean = sum / kBatches;
    variances[spread] = squares / kBatches - mean * mean;
    CHECK(std::abs(mean - expected) < 4 * std::sqrt(variances[spread] / kBatches));
  }
  CHECK(variances["stratified"] < variances["independent"] / 10);
  CHECK(variances["low_discrepancy"] < variances["independent"] / 10);
}

TEST_CASE("logit-normal timesteps have the closed-form frequencies") {
  constexpr std::int64_t T = 40;
  for (const auto& [mean, std] : {std::pair{0.0, 1.0}, {1.0, 0.5}, {-2.0, 1.5}}) {
    const bool is_default = mean == 0 && std == 1;
    const std::string options = is_default ? "" : "mean = " + std::to_string(mean) + "\nstd = " + std::to_string(std);
    constexpr std::int64_t kCount = 1000000;
    const std::vector<double> seen = frequencies(sampler("logit_normal", T, options)->draw(grid(kCount)), T);
    double difference = 0;
    for (std::int64_t t = 0; t < T; ++t) {
      const double p = logit_normal_cdf((static_cast<double>(t) + 1) / T, mean, std) -
                       logit_normal_cdf(static_cast<double>(t) / T, mean, std);
      difference = std::max(difference, std::abs(seen[static_cast<std::size_t>(t)] - p));
    }
    // A grid of n points has an error of at most 1 / n at each end of a part.
    CHECK(difference <= 2.0 / kCount);
  }
}

TEST_CASE("random logit-normal timesteps pass a chi-square test against that form") {
  constexpr std::int64_t T = 10;
  std::vector<double> expected;
  for (std::int64_t t = 0; t < T; ++t) {
    expected.push_back(logit_normal_cdf((static_cast<double>(t) + 1) / T, 0, 1) -
                       logit_normal_cdf(static_cast<double>(t) / T, 0, 1));
  }
  const std::vector<double> seen = frequencies(sampler("logit_normal", T)->draw(uniform_numbers(40000, 5)), T);
  CHECK(std::abs(chi_square_deviation(seen, expected, 40000)) < 4);
}

TEST_CASE("logit-normal timesteps have weight 1, or keep the objective on request") {
  const TimestepDraw plain = sampler("logit_normal", 50)->draw(grid(1000));
  CHECK(plain.weight == std::vector<double>(1000, 1.0));
  const TimestepDraw weighted = sampler("logit_normal", 50, "importance = true\nstd = 1.5")->draw(grid(1000000));
  CHECK(weighted_mean_of_f(weighted) == doctest::Approx(mean_of_f(50)).epsilon(1e-3));
  CHECK(weighted_mean_of_f(plain) != doctest::Approx(mean_of_f(50)).epsilon(1e-2));
}

TEST_CASE("extreme logit-normal options and numbers stay inside the timesteps") {
  for (const char* options : {"mean = 10.0\nstd = 0.01", "mean = -10.0\nstd = 0.01", "std = 10.0"}) {
    const Sampler extreme = sampler("logit_normal", 1000, options);
    for (const double u : {0.0, 0.5, std::nextafter(1.0, 0.0)}) {
      const double t = extreme->draw({u}).t[0];
      CHECK(t >= 0);
      CHECK(t < 1000);
    }
  }
}

TEST_CASE("loss-second-moment timesteps are uniform until every timestep has its history") {
  const Sampler lsm = sampler("loss_second_moment", 3, "history_per_term = 2");
  const std::vector<double> u = uniform_numbers(100, 3);
  const TimestepDraw plain = sampler("uniform", 3)->draw(u);
  for (int i = 0; i < 5; ++i) observe(*lsm, i % 3, 1.0 + 10 * i);
  CHECK(lsm->draw(u).t == plain.t);
  CHECK(lsm->draw(u).weight == plain.weight);
  observe(*lsm, 2, 4);
  CHECK(lsm->draw(u).t != plain.t);
}

TEST_CASE("loss-second-moment timesteps agree with a history computed by hand") {
  const Sampler lsm = sampler("loss_second_moment", 2, "history_per_term = 2\nuniform_prob = 0.1");
  // t = 0 sees 5, 3, 4 and keeps 3, 4: sqrt(12.5). t = 1 sees 0, 1: sqrt(0.5), a fifth of it.
  for (const auto& [t, loss] : {std::pair<std::int64_t, double>{0, 5}, {0, 3}, {1, 0}, {0, 4}, {1, 1}}) {
    observe(*lsm, t, loss);
  }
  const double p0 = 0.9 * 5 / 6 + 0.05;
  const TimestepDraw draw = lsm->draw({p0 - 1e-9, p0 + 1e-9});
  CHECK(draw.t == std::vector<double>{0, 1});
  CHECK(draw.weight[0] == doctest::Approx(1 / (2 * p0)));
  CHECK(draw.weight[1] == doctest::Approx(1 / (2 * (1 - p0))));
  const NamedTensors buffers = lsm->buffers();
  CHECK(buffers[0].first == "history");
  CHECK(at::equal(buffers[0].second, at::tensor({3.0, 4.0, 0.0, 1.0}, at::kDouble).view({2, 2})));
}

TEST_CASE("loss-second-moment timesteps follow guided-diffusion's formula over a long history") {
  constexpr std::int64_t T = 12;
  const Sampler lsm = sampler("loss_second_moment", T);
  std::vector<std::vector<double>> history(T);
  for (std::int64_t i = 0; i < 600; ++i) {
    const auto t = static_cast<std::size_t>(splitmix64(static_cast<std::uint64_t>(i)) % T);
    const double loss = static_cast<float>((1 + static_cast<double>(t)) * uniform(static_cast<std::uint64_t>(i)));
    observe(*lsm, static_cast<std::int64_t>(t), loss);
    history[t].push_back(loss);
    if (history[t].size() > 10) history[t].erase(history[t].begin());
  }
  const std::vector<double> p = resampler_formula(history, 0.001);
  const TimestepDraw draw = lsm->draw(grid(100000));
  const std::vector<double> seen = frequencies(draw, T);
  for (std::size_t t = 0; t < T; ++t) CHECK(std::abs(seen[t] - p[t]) < 2e-5);
  for (std::size_t i = 0; i < draw.t.size(); i += 999) {
    CHECK(draw.weight[i] == doctest::Approx(1 / (T * p[static_cast<std::size_t>(draw.t[i])])).epsilon(1e-12));
  }
  CHECK(weighted_mean_of_f(draw) == doctest::Approx(mean_of_f(T)).epsilon(1e-3));
}

TEST_CASE("the history sums the weighted terms that are listed, and refuses an unknown name") {
  const at::Tensor t = at::tensor({1.0, 0.0}, at::kDouble);
  const std::vector<LossTerm> terms = {term("eps", {1, 2}, 2), term("x0", {10, 20}),
                                       term("metric.l1", {100, 200}, 0.5)};
  const Sampler all = sampler("loss_second_moment", 2, "history_per_term = 1");
  all->observe(t, terms);
  CHECK(at::equal(all->buffers()[0].second, at::tensor({124.0, 62.0}, at::kDouble).view({2, 1})));
  const Sampler some = sampler("loss_second_moment", 2, "history_per_term = 1\nterms = [\"eps\", \"x0\"]");
  some->observe(t, terms);
  CHECK(at::equal(some->buffers()[0].second, at::tensor({24.0, 12.0}, at::kDouble).view({2, 1})));
  const Sampler wrong = sampler("loss_second_moment", 2, "terms = [\"esp\"]");
  CHECK_THROWS_WITH_AS(wrong->observe(t, terms), doctest::Contains("'esp'"), ConfigError);
}

TEST_CASE("a term that ends counts as 0 from then on") {
  const at::Tensor t = at::tensor({0.0, 1.0}, at::kDouble);
  const std::vector<LossTerm> both = {term("eps", {1, 2}), term("alignment", {10, 20})};
  const Sampler some = sampler("loss_second_moment", 2, "history_per_term = 1\nterms = [\"alignment\"]");
  some->observe(t, both);
  CHECK(at::equal(some->buffers()[0].second, at::tensor({10.0, 20.0}, at::kDouble).view({2, 1})));
  some->observe(t, {both.front()});
  CHECK(at::equal(some->buffers()[0].second, at::zeros({2, 1}, at::kDouble)));
}

TEST_CASE("losses of zero everywhere keep the timesteps uniform") {
  const Sampler lsm = sampler("loss_second_moment", 4, "history_per_term = 1");
  for (std::int64_t t = 0; t < 4; ++t) observe(*lsm, t, 0);
  const TimestepDraw draw = lsm->draw(grid(4));
  CHECK(draw.t == std::vector<double>{0, 1, 2, 3});
  CHECK(draw.weight[2] == doctest::Approx(1));
}

TEST_CASE("log-normal times have normal logarithms of the noise, on every path") {
  const std::vector<double> u = grid(20000);
  for (const std::string path : {"edm", "flow", "cosine"}) {
    INFO(path);
    const auto schedule = testing::make<NoiseScheduler>(path, "", {});
    const auto times = testing::make<TimestepSampler>("log_normal", "mean = -0.4\nstd = 0.8", {schedule});
    const TimestepDraw draw = times->draw(u);
    const Tensor level = -0.5 * schedule->log_snr(at::tensor(draw.t, at::kDouble));
    CHECK(level.mean().item<double>() == doctest::Approx(-0.4).epsilon(0.01));
    CHECK(level.std().item<double>() == doctest::Approx(0.8).epsilon(0.01));
    CHECK(std::set<double>(draw.weight.begin(), draw.weight.end()) == std::set<double>{1});
    for (const double t : draw.t) {
      if (schedule->range().is_whole) REQUIRE(t == std::floor(t));
    }
    const TimestepDraw ends = testing::make<TimestepSampler>("log_normal", "std = 10.0", {schedule})->draw({0, 0.9999});
    CHECK(ends.t[0] == doctest::Approx(schedule->range().first));
    CHECK(ends.t[1] == doctest::Approx(schedule->range().last));
  }
}

}  // namespace casdm
