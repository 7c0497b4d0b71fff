#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"
#include "sets/sets.h"

namespace casdm {
namespace {

using namespace testing;
using doctest::Approx;

/// Rows whose sample mean is exactly `mean`, and whose sample covariance (over N - 1) is exactly `factor` `factor`^T.
Tensor with_moments(std::uint64_t seed, std::int64_t count, const Tensor& mean, const Tensor& factor) {
  Tensor rows = normal(seed, {count, mean.size(0)});
  rows = rows - rows.mean(0);
  const Tensor covariance = rows.t().mm(rows) / static_cast<double>(count - 1);
  return rows.mm(at::linalg_inv(at::linalg_cholesky(covariance)).t()).mm(factor.t()) + mean;
}

Tensor diagonal(std::initializer_list<double> values) { return at::diag(at::tensor(values, at::kDouble)); }

/// A random orthogonal matrix.
Tensor rotation(std::uint64_t seed, std::int64_t size) {
  return std::get<0>(at::linalg_qr(normal(seed, {size, size})));
}

double squared_distance(const Tensor& a, const Tensor& b) { return (a - b).square().sum().item<double>(); }

TEST_CASE("the Frechet distance of two Gaussians with known moments is the closed form") {
  const auto metric = make_set_metric("frechet", 3);
  const Tensor mean = at::tensor({1.0, -2.0, 0.5});
  SUBCASE("deviations (1, 2, 3) against (2, 2, 1), and a shift of (1, 0, 2): 1 + 4 + 1 + 0 + 4") {
    const Tensor a = with_moments(1, 50, mean, diagonal({1, 2, 3}));
    const Tensor b = with_moments(2, 80, mean + at::tensor({1.0, 0.0, 2.0}), diagonal({2, 2, 1}));
    CHECK(value(*metric, a, b) == Approx(10).epsilon(1e-12));
  }
  SUBCASE("for covariances that do not commute: the trace of the root from the eigenvalues of the product") {
    // S1 = diag(4, 1), S2 = R diag(9, 1) R^T with R a rotation by 45 degrees = [[5, 4], [4, 5]]: det(S1 S2) = 36, tr(S1
    // S2) = 25, so tr (S1 S2)^(1/2) = sqrt(25 + 2 sqrt(36)) = sqrt(37), and 4 + 1 + 9 + 1 - 2 sqrt(37)
    const auto flat = make_set_metric("frechet", 2);
    const double half = std::sqrt(0.5);
    const Tensor turn = at::tensor({half, -half, half, half}, at::kDouble).view({2, 2});
    const Tensor a = with_moments(1, 40, at::zeros({2}, at::kDouble), diagonal({2, 1}));
    const Tensor b = with_moments(2, 40, at::zeros({2}, at::kDouble), turn.mm(diagonal({3, 1})));
    CHECK(value(*flat, a, b) == Approx(15 - 2 * std::sqrt(37.0)).epsilon(1e-12));
  }
}

TEST_CASE("a shifted copy of a set is at the squared length of the shift, even with fewer images than features") {
  for (const std::int64_t count : {200, 10}) {
    const Tensor rows = normal(1, {count, 24}), shift = normal(2, {24});
    const auto metric = make_set_metric("frechet", 24);
    CHECK(value(*metric, rows + shift, rows) == Approx(shift.square().sum().item<double>()).epsilon(1e-11));
    CHECK(value(*metric, rows, rows) < 1e-11);
  }
}

TEST_CASE("covariances without full rank are exact: sets in orthogonal subspaces") {
  // Nothing is shared, so the distance is the sum of all variances.
  Tensor a = at::zeros({60, 16}, at::kDouble), b = at::zeros({60, 16}, at::kDouble);
  a.narrow(1, 0, 8).copy_(normal(1, {60, 8}));
  b.narrow(1, 8, 8).copy_(normal(2, {60, 8}));
  a = a - a.mean(0);
  b = b - b.mean(0);
  const double expected = (a.square().sum() + b.square().sum()).item<double>() / 59;
  const Tensor turn = rotation(3, 16);
  CHECK(value(*make_set_metric("frechet", 16), a.mm(turn), b.mm(turn)) == Approx(expected).epsilon(1e-12));
}

TEST_CASE("with fewer images than features the Frechet distance is that from products of images") {
  // With X and Y the centred rows: tr (S_x S_y)^(1/2) is the sum of the singular values of X Y^T, divided by the roots
  // of N - 1 and M - 1, and the traces are sums of squares: no covariance is needed.
  const Tensor rows = normal(1, {30, 200}), reference = 1.3 * normal(2, {40, 200}) + 0.1;
  const Tensor x = rows - rows.mean(0), y = reference - reference.mean(0);
  const double root = at::linalg_svdvals(x.mm(y.t())).sum().item<double>() / std::sqrt(29.0 * 39.0);
  const double traces = (x.square().sum() / 29 + y.square().sum() / 39).item<double>();
  const double expected = squared_distance(rows.mean(0), reference.mean(0)) + traces - 2 * root;
  CHECK(value(*make_set_metric("frechet", 200), rows, reference) == Approx(expected).epsilon(1e-11));
}

TEST_CASE("equal images have no covariance: the distance is that of the means plus the other's variance") {
  const auto metric = make_set_metric("frechet", 5);
  const Tensor constant = at::full({30, 5}, 2.0, at::kDouble);
  CHECK(value(*metric, constant, constant) == 0);
  CHECK(value(*metric, constant, constant - 1) == Approx(5).epsilon(1e-12));
  const Tensor rows = with_moments(1, 40, at::full({5}, 2.0, at::kDouble), diagonal({1, 1, 2, 2, 3}));
  CHECK(value(*metric, constant, rows) == Approx(1 + 1 + 4 + 4 + 9).epsilon(1e-12));
  for (const char* other : {"kernel_distance", "mmd", "precision_recall", "sliced_wasserstein"}) {
    for (const Score& score : compare(*make_set_metric(other, 5), constant, rows)) {
      CHECK_MESSAGE(std::isfinite(score.value), other);
    }
  }
}

TEST_CASE("far from 0 the Frechet distance loses no accuracy") {
  const Tensor a = normal(1, {300, 8}), b = 1.5 * normal(2, {300, 8});
  const auto metric = make_set_metric("frechet", 8);
  CHECK(value(*metric, a + 1e6, b + 1e6) == Approx(value(*metric, a, b)).epsilon(1e-8));
}

TEST_CASE("order, batches and processes change the Frechet distance only by rounding") {
  const Tensor rows = normal(1, {1000, 32}), reference = normal(2, {500, 32}) * 1.2;
  const auto metric = make_set_metric("frechet", 32);
  const NamedTensors real = set_of(*metric, reference);
  const double expected = metric->compare(set_of(*metric, rows), real).front().value;
  for (const std::int64_t batch : {1, 7, 1000}) {
    CHECK(metric->compare(set_of(*metric, rows, 0, batch), real).front().value == Approx(expected).epsilon(1e-10));
  }
  NamedTensors merged = metric->start();
  for (const std::int64_t part : {3, 0, 2, 1}) {
    metric->merge(merged, set_of(*metric, rows.narrow(0, 250 * part, 250), 250 * part));
  }
  CHECK(metric->compare(merged, real).front().value == Approx(expected).epsilon(1e-10));
}

TEST_CASE("extrapolated to infinitely many images, the Frechet distance loses its bias") {
  // Both sets are N(0, I): the distance is 0, and for N images it is about D (D + 3) / (4 N) per set.
  constexpr std::int64_t kDimension = 24;
  const Tensor reference = normal(1, {60000, kDimension});
  double finite = 0, infinite = 0;
  for (std::uint64_t seed = 2; seed < 6; ++seed) {
    const Tensor rows = normal(seed, {1500, kDimension});
    finite += value(*make_set_metric("frechet", kDimension), rows, reference) / 4;
    infinite += value(*make_set_metric("frechet_infinity", kDimension), rows, reference) / 4;
  }
  CHECK(finite > 0.08);
  CHECK(std::abs(infinite) < 0.25 * finite);
}

TEST_CASE("too many features, or spatial ones, are refused with what to do") {
  CHECK_THROWS_WITH_AS(make_set_metric("frechet", 200000), doctest::Contains("choose a pooled feature"), ConfigError);
  CHECK_THROWS_WITH_AS(make<SetMetric>("kernel_distance", "", {.feature = {"spatial", 8, true}}),
                       doctest::Contains("choose a feature without places"), ConfigError);
}

/// The unbiased estimate by its definition, pair by pair.
double kernel_distance_by_pairs(const Tensor& x, const Tensor& y) {
  const auto k = [](const Tensor& a, const Tensor& b) {
    return std::pow(a.dot(b).item<double>() / static_cast<double>(a.size(0)) + 1, 3);
  };
  double xx = 0, yy = 0, xy = 0;
  const std::int64_t n = x.size(0), m = y.size(0);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < n; ++j) xx += i == j ? 0 : k(x[i], x[j]);
    for (std::int64_t j = 0; j < m; ++j) xy += k(x[i], y[j]);
  }
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < m; ++j) yy += i == j ? 0 : k(y[i], y[j]);
  }
  const double a = static_cast<double>(n), b = static_cast<double>(m);
  return xx / (a * (a - 1)) + yy / (b * (b - 1)) - 2 * xy / (a * b);
}

TEST_CASE("the kernel distance of small sets is the sum over all pairs") {
  const Tensor x = normal(1, {20, 6}).to(at::kFloat), y = (normal(2, {30, 6}) + 0.5).to(at::kFloat);
  const auto metric = make_set_metric("kernel_distance", 6, "subsets = 0");
  const double expected = kernel_distance_by_pairs(x.to(at::kDouble), y.to(at::kDouble));
  CHECK(value(*metric, x, y) == Approx(expected).epsilon(1e-6));
  // Subsets as large as the sets are the sets themselves.
  const auto subsets = make_set_metric("kernel_distance", 6, "subsets = 3\nsubset_size = 20");
  const Tensor z = y.narrow(0, 0, 20);
  CHECK(value(*subsets, x, z) == Approx(kernel_distance_by_pairs(x.to(at::kDouble), z.to(at::kDouble))).epsilon(1e-6));
}

/// Mean and standard deviation of the scores of many draws of two sets, and the mean of their standard errors.
struct Draws {
  double mean = 0, deviation = 0, stated = 0;
};

template <class Draw>
Draws draws(const SetMetric& metric, const Draw& draw) {
  constexpr int kDraws = 200;
  std::vector<double> values;
  Draws result;
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    const Score score = compare(metric, draw(2 * i), normal(2 * i + 1, {60, 6})).front();
    values.push_back(score.value);
    result.mean += score.value / kDraws;
    result.stated += *score.standard_error / kDraws;
  }
  for (const double v : values) result.deviation += (v - result.mean) * (v - result.mean) / (kDraws - 1);
  result.deviation = std::sqrt(result.deviation);
  return result;
}

TEST_CASE("the kernel distance of two samples of one distribution is 0 on average") {
  const auto metric = make_set_metric("kernel_distance", 6, "subsets = 0");
  const Draws found = draws(*metric, [](std::uint64_t seed) { return normal(seed, {60, 6}); });
  // 200 draws: the mean has a standard error of deviation / 14, and is off by more than four times that for one in
  // 16,000 seeds
  CHECK(std::abs(found.mean) < 4 * found.deviation / std::sqrt(200.0));
}

TEST_CASE("the standard error of the kernel distance is its variation over draws of all images") {
  for (const char* options : {"subsets = 0", "subsets = 40\nsubset_size = 30"}) {
    const auto metric = make_set_metric("kernel_distance", 6, options);
    const Draws found = draws(*metric, [](std::uint64_t seed) { return normal(seed, {60, 6}) + 0.5; });
    CHECK_MESSAGE(found.stated == Approx(found.deviation).epsilon(0.25), options);
  }
}

TEST_CASE("the Gaussian discrepancy has its closed form, and CMMD's defaults") {
  // For N(0, I) against N(c, I) and bandwidth s, with v = 1 + 2 / s^2: MMD^2 = 2 v^(-D/2) (1 - exp(-|c|^2 / (2 (s^2 +
  // 2))))
  constexpr std::int64_t kDimension = 4;
  const Tensor shift = at::full({kDimension}, 0.5, at::kDouble);
  const auto metric =
      make_set_metric("mmd", kDimension, "bandwidth = 2\nscale = 1\nunit_length = false\nunbiased = true");
  const Score found = compare(*metric, normal(1, {4000, kDimension}) + shift, normal(2, {4000, kDimension})).front();
  const double expected = 2 * std::pow(1 + 2 / 4.0, -kDimension / 2.0) * (1 - std::exp(-1.0 / (2 * 6)));
  CHECK(std::abs(found.value - expected) < 4 * *found.standard_error);
  CHECK(*found.standard_error < 0.1 * expected);
  SUBCASE("two orthogonal images of length 1 are at 2 (1 - exp(-1/100)) / 2 x 1000 from two others") {
    const Tensor x = at::eye(4, at::kDouble);
    const auto cmmd = make_set_metric("mmd", 4);
    // k(x, x) = 1, k of two different images exp(-2 / 200): mean over pairs within (1 + e) / 2, across e
    const double e = std::exp(-0.01);
    CHECK(value(*cmmd, 7 * x.narrow(0, 0, 2), x.narrow(0, 2, 2)) == Approx(1000 * (1 + e - 2 * e)).epsilon(1e-6));
  }
}

/// Precision, recall, density and coverage by their definitions.
std::array<double, 4> neighbourhoods(const Tensor& fake, const Tensor& real, std::int64_t k) {
  const auto radius = [&](const Tensor& set, std::int64_t i) {
    std::vector<double> all;
    for (std::int64_t j = 0; j < set.size(0); ++j) {
      if (j != i) all.push_back(squared_distance(set[i], set[j]));
    }
    std::sort(all.begin(), all.end());
    return all[static_cast<std::size_t>(k - 1)];
  };
  std::array<double, 4> result{};
  const double n = static_cast<double>(fake.size(0)), m = static_cast<double>(real.size(0));
  for (std::int64_t j = 0; j < fake.size(0); ++j) {
    int balls = 0;
    for (std::int64_t i = 0; i < real.size(0); ++i) balls += squared_distance(fake[j], real[i]) <= radius(real, i);
    result[0] += (balls > 0) / n;
    result[2] += balls / (static_cast<double>(k) * n);
  }
  for (std::int64_t i = 0; i < real.size(0); ++i) {
    bool is_recalled = false, is_covered = false;
    for (std::int64_t j = 0; j < fake.size(0); ++j) {
      is_recalled = is_recalled || squared_distance(fake[j], real[i]) <= radius(fake, j);
      is_covered = is_covered || squared_distance(fake[j], real[i]) <= radius(real, i);
    }
    result[1] += is_recalled / m;
    result[3] += is_covered / m;
  }
  return result;
}

TEST_CASE("a bandwidth at which all images look alike, or no two, gives no score instead of a wrong one") {
  const Tensor x = normal(1, {40, 8}), y = normal(2, {50, 8}) + 3;
  for (const std::string more : {"", "\nunit_length = false", "\nunbiased = true"}) {
    for (const char* bandwidth : {"1e300", "1e6", "1e-6", "1e-300"}) {
      CAPTURE(bandwidth);
      const auto metric = make_set_metric("mmd", 8, std::string("bandwidth = ") + bandwidth + more);
      for (const Tensor& reference : {x, y}) {
        const Score score = compare(*metric, x, reference).front();
        // A set compared with itself contains pairs that are equal at any bandwidth.
        if (std::string(bandwidth).find('-') == std::string::npos || reference.is_same(y))
          CHECK(std::isnan(score.value));
      }
    }
    const Score far = compare(*make_set_metric("mmd", 8, "bandwidth = 1e3" + more), x, y).front();
    CHECK(far.value > 0);
  }
  // Images that are all the same really are equal.
  const Tensor same = at::ones({20, 8}, at::kDouble);
  CHECK(value(*make_set_metric("mmd", 8, "bandwidth = 1e300"), same, same) == 0);
}

TEST_CASE("precision, recall, density and coverage of small sets follow the definitions") {
  const Tensor real = normal(1, {30, 3}).to(at::kFloat), fake = (0.8 * normal(2, {25, 3}) + 0.7).to(at::kFloat);
  for (const std::int64_t k : {1, 3}) {
    const auto metric = make_set_metric("precision_recall", 3, text("neighbours = ", k));
    const std::vector<Score> found = compare(*metric, fake, real);
    const std::array<double, 4> expected = neighbourhoods(fake.to(at::kDouble), real.to(at::kDouble), k);
    for (std::size_t i = 0; i < 4; ++i)
      CHECK_MESSAGE(found[i].value == Approx(expected[i]).epsilon(1e-12), found[i].name);
  }
}

TEST_CASE("copies of the reference have precision, recall and coverage 1, even if many of its images are equal") {
  Tensor rows = normal(1, {40, 512}) + 100;
  rows.narrow(0, 0, 20).copy_(rows[0].expand({20, 512}));
  const auto metric = make_set_metric("precision_recall", 512);
  const std::vector<Score> itself = compare(*metric, rows, rows);
  CHECK(itself[0].value == 1);
  CHECK(itself[1].value == 1);
  CHECK(itself[3].value == 1);
  const std::vector<Score> far = compare(*metric, rows + 1000, rows);
  for (const Score& score : far) CHECK_MESSAGE(score.value == 0, score.name);
}

TEST_CASE("the inception score of certain and even guesses is the number of classes, of equal ones 1") {
  const auto metric = make_set_metric("inception_score", 8);
  const Tensor classes = at::arange(64, at::kLong).remainder(8);
  const Tensor sure = 100 * at::one_hot(classes, 8).to(at::kDouble);
  const NamedTensors nothing = metric->start();
  CHECK(metric->compare(set_of(*metric, sure), nothing).front().value == Approx(8).epsilon(1e-12));
  const Tensor equal = normal(1, {1, 8}).expand({64, 8});
  CHECK(metric->compare(set_of(*metric, equal), nothing).front().value == Approx(1).epsilon(1e-12));
  SUBCASE("probabilities give the same as their logits") {
    const auto other = make_set_metric("inception_score", 8, "input = \"probabilities\"");
    const Tensor logits = normal(2, {64, 8});
    CHECK(other->compare(set_of(*other, logits.softmax(1)), nothing).front().value ==
          Approx(metric->compare(set_of(*metric, logits), nothing).front().value).epsilon(1e-12));
  }
  SUBCASE("splits contain consecutive images, whatever the batches: one class each gives a score of 1") {
    const auto split = make_set_metric("inception_score", 8, "split_size = 8");
    const Tensor sorted = sure.index_select(0, std::get<1>(classes.sort(0, false)));
    CHECK(split->compare(set_of(*split, sorted, 0, 5), nothing).front().value == Approx(1).epsilon(1e-12));
    CHECK(split->compare(set_of(*split, sure, 0, 5), nothing).front().value == Approx(8).epsilon(1e-12));
  }
  SUBCASE("images beyond the last full split count in the first one") {
    const Tensor logits = normal(3, {64, 8});
    const auto score = [&](const std::string& options, const Tensor& rows) {
      const auto made = make_set_metric("inception_score", 8, options);
      return made->compare(set_of(*made, rows, 0, 5), nothing).front().value;
    };
    const double whole = score("", logits);
    for (const int size : {33, 40, 63, 64, 65})
      CHECK_MESSAGE(score(text("split_size = ", size), logits) == Approx(whole).epsilon(1e-12), size);
    const Tensor first = at::cat({logits.narrow(0, 0, 24), logits.narrow(0, 48, 16)});
    const double mean = (score("", first) + score("", logits.narrow(0, 24, 24))) / 2;
    CHECK(score("split_size = 24", logits) == Approx(mean).epsilon(1e-12));
    CHECK(score("split_size = 24\nsplits = 2", logits) == Approx(mean).epsilon(1e-12));
  }
}

TEST_CASE("the sliced Wasserstein distance of a shifted copy is the root mean square of the projected shift") {
  const Tensor rows = normal(1, {200, 1}), shift = at::tensor({3.0});
  CHECK(value(*make_set_metric("sliced_wasserstein", 1), rows + shift, rows) == Approx(3).epsilon(1e-6));
  SUBCASE("which over many directions is the length of the shift over the root of the dimension") {
    const Tensor many = normal(1, {100, 16}), by = at::full({16}, 2.0, at::kDouble);
    const auto metric = make_set_metric("sliced_wasserstein", 16, "directions = 20000");
    CHECK(value(*metric, many + by, many) == Approx(2).epsilon(0.02));
  }
  SUBCASE("sets of different size: {0, 1} against {0, 0, 3}: quantiles differ by 0, 1 and 2 on 1/2, 1/6 and 1/3") {
    const Tensor a = at::tensor({0.0, 1.0}).view({2, 1}), b = at::tensor({0.0, 0.0, 3.0}).view({3, 1});
    CHECK(value(*make_set_metric("sliced_wasserstein", 1), a, b) == Approx(std::sqrt(1.0 / 6 + 4.0 / 3)).epsilon(1e-6));
  }
}

TEST_CASE("if there are more images than are kept, which are kept depends only on their indices") {
  const Tensor rows = normal(1, {3000, 4});
  const auto metric = make_set_metric("kernel_distance", 4, "images = 500\nsubsets = 0");
  const NamedTensors reference = set_of(*metric, normal(2, {500, 4}) * 1.3);
  const double expected = metric->compare(set_of(*metric, rows), reference).front().value;
  CHECK(set_of(*metric, rows)[1].second.size(0) == 500);
  CHECK(metric->compare(set_of(*metric, rows, 0, 1), reference).front().value == expected);
  CHECK(metric->compare(set_of(*metric, rows, 0, 3000), reference).front().value == expected);
  NamedTensors merged = set_of(*metric, rows.narrow(0, 2000, 1000), 2000);
  metric->merge(merged, set_of(*metric, rows.narrow(0, 0, 2000)));
  CHECK(metric->compare(merged, reference).front().value == expected);
}

}  // namespace
}  // namespace casdm
