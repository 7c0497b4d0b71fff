#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

#include "casdm/error.h"
#include "samplers/run_sampler.h"

namespace casdm {
namespace {

using namespace testing;

std::vector<double> visited(const std::string& type, const std::string& options, std::int64_t count = 1000) {
  const auto sampler = make_sampler(type, options, make_schedule("cosine", count));
  std::vector<double> times;
  for (const SampleStep& step : sampler->plan()) times.push_back(step.t);
  return times;
}

/// An estimate with all parts, at x_t of the middle of the schedule.
struct Middle {
  std::shared_ptr<const BetaSchedule> schedule = make_schedule("linear", 100);
  Tensor x_t = fill(1, {2, 3, 4, 4}).to(at::kDouble) * 2;
  Tensor noise = fill(2, {2, 3, 4, 4}).to(at::kDouble) * 2;
  Estimate estimate;

  Middle() {
    estimate.x0_from_eps = fill(3, {2, 3, 4, 4}).to(at::kDouble) * 1.5;
    estimate.x0 = fill(4, {2, 3, 4, 4}).to(at::kDouble) * 1.5;
    estimate.gate = fill(5, {2, 1, 4, 4}).to(at::kDouble) * 0.5 + 0.5;
    estimate.variance = fill(6, {2, 3, 4, 4}).to(at::kDouble);
  }

  Tensor step(const std::string& type, const std::string& options, std::size_t index) const {
    return make_sampler(type, options, schedule)->step({index, x_t, estimate, noise});
  }
};

TEST_CASE("the three spacings keep the timesteps they promise") {
  const auto ten = [](const std::string& spacing) {
    return visited("ddim", "num_inference_steps = 10\nspacing = \"" + spacing + "\"");
  };
  CHECK(ten("leading") == std::vector<double>{900, 800, 700, 600, 500, 400, 300, 200, 100, 0});
  CHECK(ten("linspace") == std::vector<double>{999, 888, 777, 666, 555, 444, 333, 222, 111, 0});
  CHECK(ten("trailing") == std::vector<double>{999, 899, 799, 699, 599, 499, 399, 299, 199, 99});
  CHECK(visited("ddim", "timestep_respacing = \"4,2\"", 100) == std::vector<double>{99, 50, 49, 33, 16, 0});
  CHECK(visited("ddim", "timestep_respacing = \"ddim4\"", 10) == std::vector<double>{9, 6, 3, 0});
  CHECK(visited("ddpm", "timestep_respacing = \"1\"", 10) == std::vector<double>{0});
  CHECK(visited("ddpm", "", 5) == std::vector<double>{4, 3, 2, 1, 0});
}

TEST_CASE("any number of steps from one to all gives that many decreasing timesteps") {
  const auto schedule = make_schedule("cosine", 60);
  for (const std::string spacing : {"leading", "linspace", "trailing"}) {
    for (int count = 1; count <= 60; ++count) {
      for (const std::string type : {"ddim", "ddpm", "heun", "euler", "dpmpp_2m", "unipc"}) {
        if (count == 60 && spacing != "trailing" && (type == "dpmpp_2m" || type == "unipc")) continue;
        INFO(type, " ", spacing, " ", count);
        const auto sampler = make_sampler(
            type, "num_inference_steps = " + std::to_string(count) + "\nspacing = \"" + spacing + "\"", schedule);
        const auto& plan = sampler->plan();
        CHECK(plan.size() == static_cast<std::size_t>(type == "heun" ? 2 * count - 1 : count));
        CHECK(plan.front().t <= 59);
        CHECK(plan.back().t >= 0);
        for (std::size_t i = 0; i + 1 < plan.size(); ++i) CHECK((type == "heun" || plan[i].t > plan[i + 1].t));
      }
    }
  }
}

TEST_CASE("too many and too few steps are refused with the numbers") {
  const auto schedule = make_schedule("cosine", 100);
  CHECK_THROWS_AS(make_sampler("ddim", "num_inference_steps = 0", schedule), ConfigError);
  for (const std::string type : {"ddim", "ddpm", "dpmpp_2m", "unipc"}) {
    try {
      make_sampler(type, "num_inference_steps = 101\nspacing = \"trailing\"", schedule);
      FAIL("101 steps of 100 were taken");
    } catch (const ConfigError& error) {
      const std::string message = error.what();
      CHECK(message.find("num_inference_steps = 101") != std::string::npos);
      CHECK(message.find("1..100") != std::string::npos);
    }
  }
  CHECK_THROWS_AS(make_sampler("unipc", "num_inference_steps = 100\nspacing = \"linspace\"", schedule), ConfigError);
  for (const std::string bad :
       {"ddim", "ddim0", "ddim30x", "5,,5", "5,", "fast", "-5", "0", "60,60", "101", "ddim60"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(make_sampler("ddim", "timestep_respacing = \"" + bad + "\"", schedule), ConfigError);
  }
}

TEST_CASE("the Karras grid is even in sigma^(1/rho), between the given ends") {
  const auto schedule = make_schedule("linear", 1000);
  const auto sampler = make_sampler("euler", "num_inference_steps = 5\nsigma_min = 0.02\nsigma_max = 80.0", schedule);
  CHECK(sampler->initial_scale() == doctest::Approx(80).epsilon(1e-12));
  for (std::size_t i = 0; i < 5; ++i) {
    const double expected = std::pow(
        std::pow(80, 1 / 7.) + static_cast<double>(i) / 4 * (std::pow(0.02, 1 / 7.) - std::pow(80, 1 / 7.)), 7);
    // The model's input is x / sqrt(1 + sigma^2).
    const Tensor fed = sampler->model_input(at::ones({1, 1, 1, 1}, at::kDouble), i);
    CHECK(fed.item<double>() == doctest::Approx(1 / std::hypot(1, expected)).epsilon(1e-12));
    // log sigma is linear between timesteps.
    const double t = sampler->plan()[i].t;
    const auto log_sigma = [&](double at) {
      const double a = schedule->alphas_cumprod()[static_cast<std::size_t>(at)];
      return 0.5 * std::log((1 - a) / a);
    };
    const double between =
        (1 - t + std::floor(t)) * log_sigma(std::floor(t)) + (t - std::floor(t)) * log_sigma(std::ceil(t));
    CHECK(between == doctest::Approx(std::log(expected)).epsilon(1e-9));
  }
  const auto whole = make_sampler("heun", "num_inference_steps = 5", schedule);
  CHECK(whole->plan().front().t == 999);
  CHECK(whole->plan().back().t == 0);
  CHECK_THROWS_AS(make_sampler("euler", "sigma_max = 1000.0", schedule), ConfigError);
  CHECK_THROWS_AS(make_sampler("euler", "sigma_min = 2.0\nsigma_max = 1.0", schedule), ConfigError);
  CHECK_THROWS_AS(make_sampler("euler", "sigma_min = 0.001", schedule), ConfigError);
}

TEST_CASE(
    "between timesteps, linspace levels have sigma linear in t, and the Karras grid starts at the highest sigma") {
  const auto schedule = make_schedule("linear", 1000);
  const auto sigma = [&](double t) {
    const double a = schedule->alphas_cumprod()[static_cast<std::size_t>(t)];
    return std::sqrt((1 - a) / a);
  };
  const auto sampler = make_sampler("euler", "spacing = \"linspace\"\nnum_inference_steps = 7", schedule);
  const double t = sampler->plan()[3].t;
  REQUIRE(t == doctest::Approx(499.5).epsilon(1e-12));
  const double between = 0.5 * (sigma(499) + sigma(500));
  const Tensor fed = sampler->model_input(at::ones({1, 1, 1, 1}, at::kDouble), 3);
  CHECK(fed.item<double>() == doctest::Approx(1 / std::hypot(1, between)).epsilon(1e-9));
  CHECK(make_sampler("heun", "", schedule)->initial_scale() == doctest::Approx(sigma(999)).epsilon(1e-12));
}

TEST_CASE("I4: DDIM with eta 1 is DDPM with the posterior variance, even when respaced") {
  const Middle m;
  for (const std::string steps : {"100", "10", "7"}) {
    const std::string common = "clip = \"none\"\nspacing = \"linspace\"\nnum_inference_steps = " + steps + "\n";
    for (const std::size_t index : {0, 1, 3, 5}) {
      INFO(steps, " ", index);
      CHECK(max_relative_difference(m.step("ddim", common + "eta = 1.0", index),
                                    m.step("ddpm", common + "variance = \"fixed_small\"", index)) < 1e-11);
    }
  }
}

TEST_CASE("I3: a DDIM step of the mixture is the mixture of the DDIM steps, each with its own noise") {
  const Middle m;
  Middle eps_only;
  eps_only.estimate.x0.reset();
  Middle x0_only;
  x0_only.estimate.x0_from_eps.reset();
  for (const std::string clip : {"none", "each"}) {
    const std::string options = "num_inference_steps = 10\nclip = \"" + clip + "\"";
    const Tensor& r = m.estimate.gate;
    const Tensor mixed = r * x0_only.step("ddim", options, 4) + (1 - r) * eps_only.step("ddim", options, 4);
    CHECK(max_relative_difference(m.step("ddim", options, 4), mixed) < 1e-13);
  }
}

TEST_CASE("a DDIM step is equation 12") {
  const Middle m;
  const double a = m.schedule->alphas_cumprod()[50];
  const double next = m.schedule->alphas_cumprod()[40];
  const double s = 0.7 * std::sqrt((1 - next) / (1 - a)) * std::sqrt(1 - a / next);
  const Tensor h = mixed_x0(m.estimate, Clip::each);
  const Tensor e = (m.x_t - std::sqrt(a) * h) / std::sqrt(1 - a);
  const Tensor expected = std::sqrt(next) * h + std::sqrt(1 - next - s * s) * e + s * m.noise;
  CHECK(max_relative_difference(m.step("ddim", "num_inference_steps = 10\neta = 0.7", 4), expected) < 1e-13);
}

TEST_CASE("a DDIM step ends at the next kept timestep, or at diffusers' stride") {
  const auto schedule = make_schedule("linear", 100);
  const Tensor x0 = fill(3, {1, 3, 4, 4}).to(at::kDouble);
  const Tensor eps = fill(4, {1, 3, 4, 4}).to(at::kDouble);
  const std::string options = "num_inference_steps = 7\nspacing = \"trailing\"\nclip = \"none\"\n";
  const std::vector<double> kept = {99, 85, 70, 56, 42, 28, 13};
  const auto lands = [&](const std::string& previous, std::size_t index, std::int64_t at_timestep) {
    const auto sampler = make_sampler("ddim", options + "previous = \"" + previous + "\"", schedule);
    REQUIRE(sampler->plan()[index].t == kept[index]);
    const Tensor t = at::full({1}, kept[index], at::kDouble);
    Estimate estimate;
    estimate.x0_from_eps = x0;
    const Tensor x = sampler->step({index, schedule->q_sample(x0, t, eps), estimate, {}});
    const Tensor expected = at_timestep < 0 ? x0 : schedule->q_sample(x0, at::full({1}, at_timestep, at::kLong), eps);
    return max_relative_difference(x, expected) < 1e-12;
  };
  CHECK(lands("kept", 0, 85));
  CHECK(lands("kept", 1, 70));
  CHECK(lands("kept", 6, -1));
  CHECK(lands("stride", 0, 85));
  CHECK(lands("stride", 1, 71));
  CHECK(lands("stride", 6, -1));
}

TEST_CASE("DDPM variances: posterior, beta, learned between the two, none at the end") {
  Middle m;
  const auto deviation = [&](const std::string& variance, std::size_t index) {
    const std::string options = "variance = \"" + variance + "\"";
    const Tensor with_noise = m.step("ddpm", options, index);
    m.noise = -m.noise;
    const Tensor against = m.step("ddpm", options, index);
    m.noise = -m.noise;
    return (with_noise - against) / (2 * m.noise);
  };
  const double small = std::sqrt(m.schedule->posterior_variance()[1]);
  const double large = std::sqrt(m.schedule->betas()[1]);
  const Tensor ones = at::ones_like(m.x_t);
  CHECK(max_relative_difference(deviation("fixed_small", 98), small * ones) < 1e-12);
  CHECK(max_relative_difference(deviation("fixed_large", 98), large * ones) < 1e-12);
  CHECK(deviation("auto", 98).equal(deviation("learned_range", 98)));
  m.estimate.variance = -ones;
  CHECK(max_relative_difference(deviation("learned_range", 98), small * ones) < 1e-12);
  m.estimate.variance = ones;
  CHECK(max_relative_difference(deviation("learned_range", 98), large * ones) < 1e-12);
  m.estimate.variance = 0 * ones;
  CHECK(max_relative_difference(deviation("learned_range", 98), std::sqrt(small * large) * ones) < 1e-12);
  for (const std::string variance : {"fixed_small", "fixed_large", "learned_range"}) {
    CHECK(deviation(variance, 99).equal(0 * ones));
  }
  m.estimate.variance.reset();
  CHECK(deviation("auto", 98).equal(deviation("fixed_large", 98)));
  CHECK_THROWS_AS(m.step("ddpm", "variance = \"learned_range\"", 50), ConfigError);
}

TEST_CASE("clean images are clipped separately, after mixing, or not at all") {
  const Middle m;
  const auto image = [&](const std::string& options) {
    return m.step("ddim", "num_inference_steps = 10\n" + options, 9);
  };
  const Estimate& e = m.estimate;
  const Tensor each = e.gate * e.x0.clamp(-1, 1) + (1 - e.gate) * e.x0_from_eps.clamp(-1, 1);
  const Tensor unclipped = e.gate * e.x0 + (1 - e.gate) * e.x0_from_eps;
  CHECK(max_relative_difference(image(""), each) < 1e-14);
  CHECK(max_relative_difference(image("clip = \"mixed\""), unclipped.clamp(-1, 1)) < 1e-14);
  CHECK(max_relative_difference(image("clip = \"none\""), unclipped) < 1e-14);
}

TEST_CASE("dynamic thresholding divides each image by its own quantile, never by less than 1") {
  Middle m;
  m.estimate.x0.reset();
  m.estimate.x0_from_eps = at::linspace(-2, 2, 101, at::kDouble).reshape({1, 1, 1, 101}).repeat({2, 1, 1, 1});
  m.estimate.x0_from_eps[1] *= 0.4;
  m.x_t = at::zeros_like(m.estimate.x0_from_eps);
  const Tensor y = m.step("ddim", "num_inference_steps = 10\ndynamic_threshold = 0.5", 9);
  // |x| of the first image is 0, .04, .04, .08, .08, ... 2, 2: its median is 1, its third quartile 1.52.
  CHECK(max_relative_difference(y[0], m.estimate.x0_from_eps[0].clamp(-1, 1)) < 1e-14);
  CHECK(max_relative_difference(y[1], m.estimate.x0_from_eps[1]) < 1e-14);
  const Tensor z = m.step("ddim", "num_inference_steps = 10\ndynamic_threshold = 0.75\nclip = \"mixed\"", 9);
  CHECK(max_relative_difference(z[0], m.estimate.x0_from_eps[0].clamp(-1.52, 1.52) / 1.52) < 1e-14);
  CHECK(z[0].abs().max().item<double>() == doctest::Approx(1).epsilon(1e-12));
  CHECK_THROWS_AS(m.step("ddim", "clip = \"none\"\ndynamic_threshold = 0.9", 9), ConfigError);
}

/// Noise levels of trailing steps with their alpha, sigma and lambda = log(alpha / sigma).
struct Levels {
  std::vector<double> alpha;
  std::vector<double> sigma;
  std::vector<double> lambda;

  Levels(const BetaSchedule& schedule, const Sampler& sampler) {
    for (const SampleStep& step : sampler.plan()) {
      const double a = schedule.alphas_cumprod()[static_cast<std::size_t>(step.t)];
      alpha.push_back(std::sqrt(a));
      sigma.push_back(std::sqrt(1 - a));
      lambda.push_back(std::log(alpha.back() / sigma.back()));
    }
  }
};

TEST_CASE("a DPM-Solver++ step is algorithm 2 of the paper") {
  const Middle m;
  const auto sampler = make_sampler("dpmpp_2m", "num_inference_steps = 10\nclip = \"none\"", m.schedule);
  const Levels at_level(*m.schedule, *sampler);
  Estimate before;
  before.x0_from_eps = fill(21, m.x_t.sizes()).to(at::kDouble);
  Estimate now;
  now.x0_from_eps = fill(22, m.x_t.sizes()).to(at::kDouble);
  sampler->step({4, m.x_t, before, {}});
  const Tensor x = sampler->step({5, m.x_t, now, {}});
  const double h = at_level.lambda[6] - at_level.lambda[5];
  const double r = (at_level.lambda[5] - at_level.lambda[4]) / h;
  const Tensor d = (1 + 1 / (2 * r)) * now.x0_from_eps - 1 / (2 * r) * before.x0_from_eps;
  const Tensor expected = at_level.sigma[6] / at_level.sigma[5] * m.x_t - at_level.alpha[6] * std::expm1(-h) * d;
  CHECK(max_relative_difference(x, expected) < 1e-12);
}

/// A clean image that is quadratic in lambda, and its contribution to x over a step: x at the level `to` is
/// sigma'/sigma x + sigma' (integral of e^lambda x0) exactly.
struct QuadraticImage {
  double a = 1;
  double b = 0.3;
  double c = -0.05;

  double at(double lambda) const { return a + b * lambda + c * lambda * lambda; }
  double integral(double from, double to) const { return antiderivative(to) - antiderivative(from); }

 private:
  double antiderivative(double l) const { return std::exp(l) * (a - b + 2 * c + (b - 2 * c) * l + c * l * l); }
};

TEST_CASE("UniPC's third-order proposal and second-order correction are exact for a quadratic clean image") {
  const auto schedule = make_schedule("linear", 100);
  const QuadraticImage image;
  for (const std::string variant : {"bh1", "bh2"}) {
    for (const bool corrects : {false, true}) {
      INFO(variant, " ", corrects);
      const std::string options = "num_inference_steps = 10\nclip = \"none\"\nvariant = \"" + variant + "\"\n";
      const auto sampler =
          make_sampler("unipc", options + (corrects ? "order = 2" : "order = 3\ncorrector = false"), schedule);
      const Levels level(*schedule, *sampler);
      double x = 0.7;
      double corrected_before = 0;
      for (std::size_t i = 0; i < 8; ++i) {  // after that the order decreases
        Estimate estimate;
        estimate.x0_from_eps = at::full({1, 1, 1, 1}, image.at(level.lambda[i]), at::kDouble);
        const double proposal = sampler->step({i, at::full({1, 1, 1, 1}, x, at::kDouble), estimate, {}}).item<double>();
        const double h = level.lambda[i + 1] - level.lambda[i];
        const double shrink = level.sigma[i + 1] / level.sigma[i];
        if (!corrects && i >= 2) {
          const double exact = shrink * x + level.sigma[i + 1] * image.integral(level.lambda[i], level.lambda[i + 1]);
          CHECK(proposal == doctest::Approx(exact).epsilon(1e-11));
        }
        if (corrects) {
          // The start of the proposal, by the second-order formula (the first step has order one).
          const double r = i > 0 ? (level.lambda[i - 1] - level.lambda[i]) / h : 1;
          const double difference = i > 0 ? (image.at(level.lambda[i - 1]) - image.at(level.lambda[i])) / r : 0;
          const double b = variant == "bh1" ? -h : std::expm1(-h);
          const double added =
              -level.alpha[i + 1] * (std::expm1(-h) * image.at(level.lambda[i]) + b * 0.5 * difference);
          const double corrected = (proposal - added) / shrink;
          if (i >= 2) {
            const double exact = level.sigma[i] / level.sigma[i - 1] * corrected_before +
                                 level.sigma[i] * image.integral(level.lambda[i - 1], level.lambda[i]);
            CHECK(corrected == doctest::Approx(exact).epsilon(1e-11));
          }
          corrected_before = corrected;
        }
        x = proposal;
      }
    }
  }
}

TEST_CASE("half-precision estimates are mixed in single precision") {
  Middle m;
  m.x_t = m.x_t.to(at::kFloat);
  for (Tensor* part : {&m.estimate.x0, &m.estimate.x0_from_eps, &m.estimate.gate}) *part = part->to(at::kBFloat16);
  const Tensor y = m.step("ddim", "num_inference_steps = 10", 4);
  CHECK((y.scalar_type() == at::kFloat));
  const Tensor h = m.estimate.gate.to(at::kFloat) * m.estimate.x0.to(at::kFloat).clamp(-1, 1) +
                   (1 - m.estimate.gate.to(at::kFloat)) * m.estimate.x0_from_eps.to(at::kFloat).clamp(-1, 1);
  m.estimate.x0.reset();
  m.estimate.x0_from_eps = h;
  CHECK(y.equal(m.step("ddim", "num_inference_steps = 10", 4)));
}

}  // namespace
}  // namespace casdm
