#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

#include "casdm/beta_schedule.h"
#include "casdm/error.h"
#include "support/components.h"

namespace casdm {
namespace {

using Schedule = std::shared_ptr<BetaSchedule>;

Schedule schedule(const std::string& type, std::int64_t count, const std::string& more = "") {
  return testing::make_beta_schedule(type, "num_train_timesteps = " + std::to_string(count) + "\n" + more, {});
}

/// Every schedule at lengths from tiny to the longest in use.
std::vector<Schedule> all_schedules() {
  std::vector<Schedule> all;
  for (const std::int64_t count : {50, 1000, 4000}) {
    for (const std::string type : {"linear", "cosine", "sigmoid", "scaled_linear"})
      all.push_back(schedule(type, count));
    all.push_back(schedule("sigmoid", count, "form = \"betas\""));
    all.push_back(schedule("linear", count, "scale_with_timesteps = false"));
  }
  for (const std::string type : {"cosine", "sigmoid"}) all.push_back(schedule(type, 2));
  return all;
}

/// Double-precision images, one for each of the timesteps 1, 2, T/2 and T of method.md.
struct Images {
  explicit Images(const BetaSchedule& s)
      : t(at::tensor(
            {std::int64_t{0}, std::int64_t{1}, s.num_train_timesteps() / 2 - 1, s.num_train_timesteps() - 1})) {}

  Tensor t;
  Tensor x0 = testing::fill(1, {4, 3, 8, 8}).to(at::kDouble);
  Tensor eps = testing::fill(2, {4, 3, 8, 8}).to(at::kDouble) * 2;
  Tensor x_t = testing::fill(3, {4, 3, 8, 8}).to(at::kDouble) * 2;
};

/// The largest |a - b| in units of the rounding error of x0* at each timestep: 1e-12 times amp_t.
double in_rounding(const BetaSchedule& s, const Tensor& t, const Tensor& a, const Tensor& b) {
  std::vector<double> amplification;
  for (const double cumprod : s.alphas_cumprod()) amplification.push_back(1 + std::sqrt((1 - cumprod) / cumprod));
  return ((a - b).abs() / (testing::gather(amplification, t, a) * 1e-12)).max().item<double>();
}

TEST_CASE("the signal falls at every timestep, from nearly all to nearly none") {
  for (const Schedule& s : all_schedules()) {
    double previous = 1;
    for (const double a : s->alphas_cumprod()) {
      CHECK(a < previous);
      CHECK(a > 0);
      previous = a;
    }
  }
}

TEST_CASE("the last step of the reverse process returns the clean image") {
  for (const Schedule& s : all_schedules()) {
    CHECK(s->posterior_mean_coef1()[0] == doctest::Approx(1).epsilon(1e-12));
    CHECK(s->posterior_mean_coef2()[0] == 0);
    CHECK(s->posterior_variance()[0] == 0);
    CHECK(s->posterior_log_variance_clipped()[0] == s->posterior_log_variance_clipped()[1]);
    CHECK(s->alphas_cumprod_prev()[0] == 1);
  }
}

TEST_CASE("the posterior keeps a noiseless image noiseless: c1 + c2 sqrt(A_t) = sqrt(A_{t-1})") {
  for (const Schedule& s : all_schedules()) {
    for (std::size_t i = 0; i < s->betas().size(); ++i) {
      const double kept =
          s->posterior_mean_coef1()[i] + s->posterior_mean_coef2()[i] * std::sqrt(s->alphas_cumprod()[i]);
      CHECK(kept == doctest::Approx(std::sqrt(s->alphas_cumprod_prev()[i])).epsilon(1e-12));
    }
  }
}

TEST_CASE("the posterior is the product of its two Gaussians (Bayes)") {
  for (const Schedule& s : all_schedules()) {
    for (std::size_t i = 1; i < s->betas().size(); ++i) {
      const double beta = s->betas()[i];
      const double before = s->alphas_cumprod_prev()[i];
      const double precision = (1 - beta) / beta + 1 / (1 - before);
      // For the longest schedules, the betas leave 1-A about 1e-11 of relative precision.
      CHECK(s->posterior_variance()[i] == doctest::Approx(1 / precision).epsilon(1e-9));
      CHECK(s->posterior_mean_coef1()[i] ==
            doctest::Approx(std::sqrt(before) / (1 - before) / precision).epsilon(1e-9));
      CHECK(s->posterior_mean_coef2()[i] == doctest::Approx(std::sqrt(1 - beta) / beta / precision).epsilon(1e-9));
      CHECK(s->posterior_log_variance_clipped()[i] == doctest::Approx(std::log(1 / precision)).epsilon(1e-9));
    }
  }
}

TEST_CASE("the schedules end where their papers' do") {
  // The values in method.md, to the digits given there.
  CHECK(schedule("linear", 1000)->alphas_cumprod().back() == doctest::Approx(4.04e-5).epsilon(2e-3));
  CHECK(schedule("cosine", 1000)->alphas_cumprod().back() == doctest::Approx(2.43e-9).epsilon(2e-3));
  // 1000/T keeps the end of the linear schedule unchanged.
  CHECK(schedule("linear", 4000)->alphas_cumprod().back() == doctest::Approx(4.04e-5).epsilon(0.05));
  CHECK(schedule("linear", 4000, "scale_with_timesteps = false")->betas().back() == 0.02);
}

TEST_CASE("the noise in x0* is amplified as method.md says") {
  const std::vector<std::int64_t> t = {1, 250, 500, 1000};
  const std::vector<std::pair<std::string, std::vector<double>>> expected = {{"linear", {.01, .953, 3.42, 157}},
                                                                             {"cosine", {.0064, .425, 1.01, 2.0e4}}};
  for (const auto& [type, amplifications] : expected) {
    const Schedule s = schedule(type, 1000);
    for (std::size_t i = 0; i < t.size(); ++i) {
      const double a = s->alphas_cumprod()[static_cast<std::size_t>(t[i] - 1)];
      CHECK(std::sqrt((1 - a) / a) == doctest::Approx(amplifications[i]).epsilon(0.02));  // to the given digits
    }
  }
}

TEST_CASE("linear, scaled linear and sigmoid betas start and end at the given values") {
  const Schedule linear = schedule("linear", 100, "beta_start = 0.01\nbeta_end = 0.05\nscale_with_timesteps = false");
  CHECK(linear->betas().front() == 0.01);
  CHECK(linear->betas().back() == 0.05);
  CHECK(linear->betas()[50] - linear->betas()[49] == doctest::Approx(0.04 / 99).epsilon(1e-9));

  const Schedule scaled = schedule("scaled_linear", 1000);
  CHECK(scaled->betas().front() == doctest::Approx(0.00085).epsilon(1e-12));
  CHECK(scaled->betas().back() == doctest::Approx(0.012).epsilon(1e-12));
  const double root_step = (std::sqrt(0.012) - std::sqrt(0.00085)) / 999;
  CHECK(std::sqrt(scaled->betas()[500]) == doctest::Approx(std::sqrt(0.00085) + 500 * root_step).epsilon(1e-12));

  const Schedule sigmoid = schedule("sigmoid", 1001, "form = \"betas\"");
  CHECK(sigmoid->betas()[500] == doctest::Approx((1e-4 + 0.02) / 2).epsilon(1e-12));
  CHECK(sigmoid->betas()[0] == doctest::Approx(1e-4 + 0.0199 / (1 + std::exp(6.0))).epsilon(1e-12));
}

TEST_CASE("the cumulative sigmoid and the cosine follow their curves") {
  const Schedule sigmoid = schedule("sigmoid", 1000);
  CHECK(sigmoid->alphas_cumprod()[499] == doctest::Approx(0.5).epsilon(1e-9));  // symmetric about u = 1/2
  const auto logistic = [](double x) { return 1 / (1 + std::exp(-x)); };
  const double expected = (logistic(3) - logistic(-1.5)) / (logistic(3) - logistic(-3));  // u = 1/4
  CHECK(sigmoid->alphas_cumprod()[249] == doctest::Approx(expected).epsilon(1e-9));

  const Schedule cosine = schedule("cosine", 1000);
  const auto f = [](double u) { return std::pow(std::cos((u + 0.008) / 1.008 * std::acos(-1.0) / 2), 2); };
  CHECK(cosine->alphas_cumprod()[299] == doctest::Approx(f(0.3) / f(0)).epsilon(1e-9));
  CHECK(cosine->betas().back() == 0.999);
  CHECK(schedule("cosine", 1000, "max_beta = 0.5")->betas().back() == 0.5);
}

TEST_CASE("noise and clean image determine each other, also through the velocity") {
  for (const std::string type : {"linear", "cosine"}) {
    const Schedule s = schedule(type, 1000);
    const Images im(*s);
    const Tensor x_t = s->q_sample(im.x0, im.t, im.eps);
    CHECK(in_rounding(*s, im.t, s->predict_x0_from_eps(x_t, im.t, im.eps), im.x0) < 1);
    // In the other direction the division is by sqrt(1-A_t), at least 1/amp at t = 1.
    CHECK(testing::max_relative_difference(s->predict_eps_from_x0(x_t, im.t, im.x0), im.eps) < 1e-12);
    const Tensor v = s->velocity(im.x0, im.t, im.eps);
    CHECK(testing::max_relative_difference(s->predict_x0_from_v(x_t, im.t, v), im.x0) < 1e-13);
    // v is x_t rotated by a quarter turn.
    CHECK(testing::max_relative_difference(v.square() + x_t.square(), im.x0.square() + im.eps.square()) < 1e-13);
  }
}

TEST_CASE("I1 and I7: the mean of the predicted noise is the posterior mean of the clean image it implies") {
  for (const std::string type : {"linear", "cosine"}) {
    const Schedule s = schedule(type, 1000);
    const Images im(*s);
    std::vector<double> noise_coefficient;
    std::vector<double> root_alpha;
    for (std::size_t i = 0; i < s->betas().size(); ++i) {
      noise_coefficient.push_back(s->betas()[i] / std::sqrt(1 - s->alphas_cumprod()[i]));
      root_alpha.push_back(std::sqrt(1 - s->betas()[i]));
    }
    const Tensor mu_eps = (im.x_t - testing::gather(noise_coefficient, im.t, im.x_t) * im.eps) /
                          testing::gather(root_alpha, im.t, im.x_t);
    const Tensor x0 = s->predict_x0_from_eps(im.x_t, im.t, im.eps);
    CHECK(in_rounding(*s, im.t, s->posterior_mean(x0, im.x_t, im.t), mu_eps) < 1);

    const Tensor shifted = s->predict_x0_from_eps(im.x_t, im.t, im.eps + 1) - x0;
    std::vector<double> amplification;
    for (const double a : s->alphas_cumprod()) amplification.push_back(-std::sqrt((1 - a) / a));
    CHECK(testing::max_relative_difference(shifted, testing::gather(amplification, im.t, x0) + 0 * x0) < 1e-11);
  }
}

TEST_CASE("I2: mixing posterior means is mixing clean images") {
  const Schedule s = schedule("linear", 1000);
  const Images im(*s);
  const Tensor other = testing::fill(5, im.x0.sizes()).to(at::kDouble);
  const Tensor r = testing::fill(6, {4, 1, 8, 8}).to(at::kDouble) * 0.5 + 0.5;
  const Tensor means = r * s->posterior_mean(im.x0, im.x_t, im.t) + (1 - r) * s->posterior_mean(other, im.x_t, im.t);
  const Tensor images = s->posterior_mean(r * im.x0 + (1 - r) * other, im.x_t, im.t);
  CHECK(testing::max_relative_difference(means, images) < 1e-13);
}

TEST_CASE("tables are gathered in the shape and dtype of the images, linearly between timesteps") {
  const std::vector<double> table = {0, 10, 40};
  const Tensor like = at::zeros({2, 3, 4, 4}, at::kFloat);
  const Tensor whole = testing::gather(table, at::tensor({std::int64_t{2}, std::int64_t{0}}), like);
  CHECK(whole.sizes() == at::IntArrayRef({2, 1, 1, 1}));
  CHECK((whole.scalar_type() == at::kFloat));
  CHECK(whole.flatten().equal(at::tensor({40.0F, 0.0F})));
  const Tensor between = testing::gather(table, at::tensor({0.25, 1.5}, at::kDouble), like);
  CHECK(between.flatten().equal(at::tensor({2.5F, 25.0F})));
  const Tensor exact = testing::gather(table, at::tensor({1.0, 2.0}, at::kDouble), like);
  CHECK(exact.flatten().equal(at::tensor({10.0F, 40.0F})));
}

TEST_CASE("a respaced schedule has the signal of the kept timesteps") {
  const Schedule s = schedule("cosine", 1000);
  const std::vector<std::int64_t> kept = {0, 7, 500, 998, 999};
  const BetaSchedule few = respaced(*s, kept);
  REQUIRE(few.num_train_timesteps() == 5);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const double expected = s->alphas_cumprod()[static_cast<std::size_t>(kept[i])];
    CHECK(few.alphas_cumprod()[i] == doctest::Approx(expected).epsilon(1e-12));
  }
  std::vector<std::int64_t> all(1000);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::int64_t>(i);
  const BetaSchedule same = respaced(*s, all);
  for (std::size_t i = 0; i < all.size(); ++i) CHECK(same.betas()[i] == doctest::Approx(s->betas()[i]).epsilon(1e-9));
}

TEST_CASE("respacing refuses timesteps that do not increase within the schedule") {
  const Schedule s = schedule("linear", 100);
  CHECK_THROWS_AS(respaced(*s, {}), ConfigError);
  CHECK_THROWS_WITH_AS(respaced(*s, {3, 100}), "timesteps must rise within 0..99, got 100 after 3", ConfigError);
  CHECK_THROWS_AS(respaced(*s, {3, 3}), ConfigError);
  CHECK_THROWS_AS(respaced(*s, {-1, 3}), ConfigError);
}

TEST_CASE("decreasing betas are refused, whatever the form") {
  for (const auto& [type, more] : std::vector<std::pair<std::string, std::string>>{
           {"linear", ""}, {"scaled_linear", ""}, {"sigmoid", "form = \"betas\"\n"}}) {
    CHECK_THROWS_WITH_AS(schedule(type, 100, more + "beta_start = 0.05\nbeta_end = 0.01"),
                         doctest::Contains("beta_start = 0.05 is above beta_end = 0.01"), ConfigError);
    CHECK_NOTHROW(schedule(type, 100, more + "beta_start = 0.01\nbeta_end = 0.01"));
  }
}

TEST_CASE("a number of timesteps that would need gigabytes is refused by its key, whatever the schedule") {
  for (const std::string type : {"linear", "scaled_linear", "cosine", "sigmoid"}) {
    CHECK_THROWS_WITH_AS(schedule(type, 1'000'001),
                         doctest::Contains("num_train_timesteps: expected an integer in 1..1000000, got 1000001"),
                         ConfigError);
  }
}

TEST_CASE("one timestep: the posterior mean is the clean image") {
  const Schedule s = schedule("linear", 1, "scale_with_timesteps = false");
  REQUIRE(s->num_train_timesteps() == 1);
  const Tensor x0 = testing::fill(1, {2, 3, 4, 4});
  const Tensor x_t = testing::fill(2, {2, 3, 4, 4});
  CHECK(testing::max_relative_difference(s->posterior_mean(x0, x_t, at::zeros({2}, at::kLong)), x0) < 1e-6);
  CHECK(std::isfinite(s->posterior_log_variance_clipped()[0]));
}

TEST_CASE("zero terminal SNR: pure noise at the end, the first timestep unchanged, everything finite") {
  for (const std::string type : {"linear", "cosine", "sigmoid", "scaled_linear"}) {
    const Schedule plain = schedule(type, 1000);
    const Schedule s = schedule(type, 1000, "rescale_zero_terminal_snr = true");
    const auto& cumprod = s->alphas_cumprod();
    CHECK(cumprod.back() == 0);
    CHECK(s->betas().back() == 1);
    CHECK(cumprod.front() == doctest::Approx(plain->alphas_cumprod().front()).epsilon(1e-12));
    const double first = std::sqrt(plain->alphas_cumprod().front());
    const double last = std::sqrt(plain->alphas_cumprod().back());
    const double middle = (std::sqrt(plain->alphas_cumprod()[500]) - last) * first / (first - last);
    CHECK(cumprod[500] == doctest::Approx(middle * middle).epsilon(1e-9));
    for (std::size_t i = 1; i < cumprod.size(); ++i) {
      CHECK(cumprod[i] < cumprod[i - 1]);
      CHECK(s->posterior_variance()[i] > 0);
      CHECK(std::isfinite(s->posterior_log_variance_clipped()[i]));
      CHECK(std::isfinite(s->posterior_mean_coef1()[i] + s->posterior_mean_coef2()[i]));
    }
  }
}

TEST_CASE("zero terminal SNR: what pure noise says about the image") {
  const Schedule s = schedule("linear", 100, "rescale_zero_terminal_snr = true");
  const Tensor t = at::full({2}, 99, at::kLong);
  const Tensor x0 = testing::fill(1, {2, 3, 4, 4});
  const Tensor eps = testing::fill(2, {2, 3, 4, 4});
  const Tensor x_t = s->q_sample(x0, t, eps);
  CHECK(x_t.equal(eps));
  CHECK(s->predict_eps_from_x0(x_t, t, x0).equal(eps));
  CHECK(s->predict_x0_from_v(x_t, t, s->velocity(x0, t, eps)).equal(x0));
  CHECK(s->predict_x0_from_eps(x_t, t, eps * 2).equal(at::zeros_like(x0)));
  const Tensor earlier = at::full({2}, 98, at::kLong);
  CHECK(testing::max_relative_difference(s->predict_x0_from_eps(s->q_sample(x0, earlier, eps), earlier, eps), x0) <
        1e-3);  // amp_t * 1e-6
  CHECK_NOTHROW(respaced(*s, {0, 50, 99}));
  CHECK_THROWS_AS(respaced(BetaSchedule({0.1, 1.0, 0.1}), {1, 2}), ConfigError);
}

TEST_CASE("a fraction of the diffusion is linear in the path's own t: t / T, flow time, sigma") {
  const Schedule betas = schedule("linear", 100);
  CHECK(betas->fraction(-1) == 0);
  CHECK(betas->fraction(49) == 0.5);
  CHECK(betas->fraction(99) == 1);
  const auto flow = testing::make<NoiseScheduler>("flow", "", {});
  const auto edm = testing::make<NoiseScheduler>("edm", "", {});
  for (const double part : {0.0, 0.25, 0.7, 1.0}) {
    CHECK(flow->fraction(part) == part);
    CHECK(edm->fraction(80 * part) == doctest::Approx(part).epsilon(1e-15));
  }
  // Converted as in the docs: log SNR = 2 ln((1 - u) / u) on the flow, -2 ln(80 u) on EDM's path.
  const auto log_snr = [](const NoiseScheduler& path, double t) {
    return path.log_snr(at::full({}, t, at::kDouble)).item<double>();
  };
  CHECK(log_snr(*flow, 0.7) == doctest::Approx(2 * std::log(0.3 / 0.7)).epsilon(1e-12));
  CHECK(log_snr(*edm, 80 * 0.7) == doctest::Approx(-2 * std::log(80 * 0.7)).epsilon(1e-12));
}

TEST_CASE("a rectified flow is a straight line, and its shift shifts the signal-to-noise ratio") {
  const Tensor t = at::tensor({0.001, 0.25, 0.5, 0.9, 1.0}, at::kDouble);
  const auto flow = testing::make<NoiseScheduler>("flow", "", {});
  CHECK(testing::max_relative_difference(flow->sigma(t), t) < 1e-15);
  CHECK(at::equal(flow->alpha(t), 1 - t));
  CHECK(testing::max_relative_difference(flow->network_time(t), 1000 * t) < 1e-15);
  // Esser et al. 2024, section 5.3.2: log SNR' = log SNR - 2 log(shift), and s = shift t / (1 + (shift - 1) t).
  const auto shifted = testing::make<NoiseScheduler>("flow", "shift = 3.0", {});
  CHECK(testing::max_relative_difference(shifted->sigma(t), 3 * t / (1 + 2 * t)) < 1e-15);
  CHECK(testing::max_relative_difference(shifted->sigma(t) + shifted->alpha(t), at::ones_like(t)) < 1e-15);
  const Tensor inner = t.slice(0, 0, 4);
  CHECK(testing::max_relative_difference(shifted->log_snr(inner), flow->log_snr(inner) - 2 * std::log(3)) < 1e-12);
  CHECK(testing::max_relative_difference(shifted->time_at(shifted->log_snr(inner)), inner) < 1e-12);
  CHECK_THROWS_WITH_AS(testing::make<NoiseScheduler>("flow", "t_min = 0.5\nt_max = 0.5", {}),
                       doctest::Contains("t_min = 0.5 is not below t_max = 0.5"), ConfigError);
}

TEST_CASE("EDM's path adds noise, and a step on it is one of the thousand in its grid") {
  const auto edm = testing::make<NoiseScheduler>("edm", "", {});
  // Karras et al. 2022, equation 5 with rho = 7 and 1001 levels.
  const double low = std::pow(0.002, 1 / 7.0), high = std::pow(80, 1 / 7.0);
  const auto level = [&](double i) { return std::pow(high + i / 1000 * (low - high), 7); };
  const Tensor t = at::tensor({80.0, level(1), level(500), level(999)}, at::kDouble);
  const Tensor expected = at::tensor({level(1), level(2), level(501), 0.002}, at::kDouble);
  CHECK(testing::max_relative_difference(edm->previous(t), expected) < 1e-9);
  CHECK(edm->previous(at::full({1}, 0.00201, at::kDouble)).item<double>() == 0);
  CHECK(testing::max_relative_difference(edm->time_at(edm->log_snr(t)), t) < 1e-12);
  CHECK(edm->time_at(at::full({1}, 1e3, at::kDouble)).item<double>() == 0.002);
  CHECK_THROWS_WITH_AS(testing::make<NoiseScheduler>("edm", "sigma_max = 0.001", {}),
                       doctest::Contains("is not below sigma_max"), ConfigError);
}

TEST_CASE("betas that do not define a process are refused with their values") {
  CHECK_THROWS_AS(BetaSchedule({}), ConfigError);
  CHECK_THROWS_WITH_AS(BetaSchedule({0.1, 1.5}), "beta of timestep 1 is 1.5, not in (0, 1]", ConfigError);
  CHECK_THROWS_AS(BetaSchedule({0.0}), ConfigError);
  CHECK_THROWS_AS(BetaSchedule({std::nan("")}), ConfigError);
  CHECK_THROWS_AS(BetaSchedule({1e-20}), ConfigError);
  CHECK_THROWS_AS(schedule("linear", 10), ConfigError);  // 1000/T times .02 exceeds 1
  CHECK_THROWS_AS(schedule("linear", 0), ConfigError);
  CHECK_THROWS_AS(schedule("sigmoid", 10, "start = 3.0"), ConfigError);
  CHECK_THROWS_AS(schedule("cosine", 1, "rescale_zero_terminal_snr = true"), ConfigError);
}

}  // namespace
}  // namespace casdm
