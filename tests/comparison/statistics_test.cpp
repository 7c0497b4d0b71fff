#include "framework/comparison/statistics.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numbers>
#include <random>

using namespace casdm;
using doctest::Approx;

namespace {

Approx close(double value) { return Approx(value).epsilon(1e-12); }  // both are rounded to double

}  // namespace

TEST_CASE("the quantiles of Student's t agree with closed forms and SciPy") {
  for (const double p : {0.6, 0.9, 0.975, 0.999}) {
    CAPTURE(p);
    CHECK(student_t_quantile(p, 1) == close(std::tan(std::numbers::pi * (p - 0.5))));
    CHECK(student_t_quantile(p, 2) == close((2 * p - 1) * std::sqrt(2 / (4 * p * (1 - p)))));
    CHECK(student_t_quantile(1 - p, 5) == close(-student_t_quantile(p, 5)));
  }
  // scipy.stats.t.ppf of SciPy 1.17.1
  CHECK(student_t_quantile(0.975, 3) == close(3.1824463052837078));
  CHECK(student_t_quantile(0.975, 4) == close(2.7764451051977934));
  CHECK(student_t_quantile(0.995, 7) == close(3.4994832973504924));
  CHECK(student_t_quantile(0.975, 29) == close(2.045229642132703));
  CHECK(student_t_quantile(0.95, 99) == close(1.6603911560169906));
}

TEST_CASE("a mean has the same interval as in SciPy") {
  // scipy.stats.t.interval(0.95, n - 1, loc=mean, scale=scipy.stats.sem(x)) of SciPy 1.17.1
  const MeanEstimate of_five = estimate_mean({12.5, 11.25, 13.75, 12.0, 40.0});
  CHECK(of_five.mean == close(17.9));
  CHECK(of_five.low() == close(2.5185818210451316));
  CHECK(of_five.high() == close(33.281418178954866));
  CHECK(estimate_mean({12.5, 11.25, 13.75, 12.0, 40.0}, 0.99).low() == close(-7.606540150654489));

  // scipy.stats.ttest_rel(b, a).confidence_interval(0.95)
  const MeanEstimate paired = estimate_mean({0.0207 - 0.0213, 0.0219 - 0.0221, 0.0196 - 0.0209});
  CHECK(paired.mean == Approx(-0.0007).epsilon(1e-9));  // the differences have lost three digits
  CHECK(paired.low() == Approx(-0.002083109342384557).epsilon(1e-9));
  CHECK(paired.high() == Approx(0.0006831093423845562).epsilon(1e-9));
  CHECK_FALSE(paired.excludes_zero());
}

TEST_CASE("an interval needs two values, and for equal values it has zero width") {
  CHECK(estimate_mean({}).count == 0);
  CHECK_FALSE(estimate_mean({3.0}).half_width);
  CHECK_FALSE(estimate_mean({3.0}).excludes_zero());
  const MeanEstimate equal = estimate_mean({0.1, 0.1, 0.1});
  CHECK(equal.mean == 0.1);
  CHECK(*equal.half_width == 0);
  CHECK(equal.excludes_zero());
  CHECK_FALSE(estimate_mean({0.0, 0.0}).excludes_zero());
}

TEST_CASE("an interval of 95 % covers the mean in 95 of 100 experiments") {
  std::mt19937_64 generator(1);
  std::normal_distribution<double> normal(2.0, 3.0);
  constexpr int kExperiments = 20000;
  int covered = 0;
  for (int i = 0; i < kExperiments; ++i) {
    const MeanEstimate of_three = estimate_mean({normal(generator), normal(generator), normal(generator)});
    if (of_three.low() <= 2 && 2 <= of_three.high()) ++covered;
  }
  // four standard deviations of the binomial count: 4 sqrt(0.95 * 0.05 / 20000) = 0.0062
  CHECK(covered / double{kExperiments} == Approx(0.95).epsilon(0.0065));
}
