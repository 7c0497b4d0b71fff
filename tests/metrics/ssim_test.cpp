#include <cmath>

#include "metrics/metrics.h"

namespace casdm {
namespace {

using namespace testing;

/// SSIM as in its paper, for one plane in [0, range], position by position in double precision.
double ssim_by_hand(const Tensor& x, const Tensor& y, std::int64_t k, double sigma, double range) {
  const auto a = x.to(at::kDouble).contiguous(), b = y.to(at::kDouble).contiguous();
  const auto* p = a.data_ptr<double>();
  const auto* q = b.data_ptr<double>();
  const std::int64_t height = a.size(0), width = a.size(1);
  std::vector<double> g(static_cast<std::size_t>(k));
  double norm = 0;
  for (std::int64_t i = 0; i < k; ++i) {
    const double z = (static_cast<double>(i) - static_cast<double>(k - 1) / 2) / sigma;
    norm += g[static_cast<std::size_t>(i)] = std::exp(-z * z / 2);
  }
  const double c1 = std::pow(0.01 * range, 2), c2 = std::pow(0.03 * range, 2);
  double sum = 0;
  for (std::int64_t top = 0; top + k <= height; ++top) {
    for (std::int64_t left = 0; left + k <= width; ++left) {
      double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
      for (std::int64_t i = 0; i < k; ++i) {
        for (std::int64_t j = 0; j < k; ++j) {
          const double w = g[static_cast<std::size_t>(i)] * g[static_cast<std::size_t>(j)] / (norm * norm);
          const double u = p[(top + i) * width + left + j], v = q[(top + i) * width + left + j];
          mx += w * u, my += w * v, xx += w * u * u, yy += w * v * v, xy += w * u * v;
        }
      }
      sum += (2 * mx * my + c1) * (2 * (xy - mx * my) + c2) /
             ((mx * mx + my * my + c1) * (xx - mx * mx + yy - my * my + c2));
    }
  }
  return sum / static_cast<double>((height - k + 1) * (width - k + 1));
}

TEST_CASE("a window whose weights are all 0 is refused") {
  CHECK_THROWS_WITH_AS(make_metric("ssim", "kernel_size = 2\nkernel_sigma = 0.01"),
                       doctest::Contains("kernel_sigma = 0.01 is too small for a window of 2 pixels"), ConfigError);
  CHECK_NOTHROW(make_metric("ssim", "kernel_size = 3\nkernel_sigma = 0.01"));
}

TEST_CASE("ssim equals the paper's sums at every position") {
  const Tensor x = fill(1, {1, 1, 13, 15}), y = x * 0.6 + fill(2, {1, 1, 13, 15}) * 0.3;
  const Tensor p = (x + 1)[0][0], q = (y + 1)[0][0];
  CHECK(measure(*make_metric("ssim", "", 13, 1), y, x).item<double>() ==
        doctest::Approx(1 - ssim_by_hand(q, p, 11, 1.5, 2)).epsilon(1e-5));
  CHECK(measure(*make_metric("ssim", "kernel_size = 5\nkernel_sigma = 0.8\ndata_range = 1", 13, 1), y, x)
            .item<double>() == doctest::Approx(1 - ssim_by_hand(q, p, 5, 0.8, 1)).epsilon(1e-5));
}

TEST_CASE("ssim of two constants is its luminance term") {
  // Intensities 0.03 and 0.01, dark enough for k1 to matter.
  const Tensor x = at::full({1, 3, 16, 16}, -0.97, at::kDouble), y = at::full({1, 3, 16, 16}, -0.99, at::kDouble);
  const double c1 = 0.02 * 0.02, luminance = (2 * 0.03 * 0.01 + c1) / (0.03 * 0.03 + 0.01 * 0.01 + c1);
  for (const std::string metric : {"ssim", "ms_ssim"}) {
    CHECK(measure(*make_metric(metric, metric == "ssim" ? "" : "scale_weights = [1.0]"), x, y).item<double>() ==
          doctest::Approx(1 - luminance).epsilon(1e-6));
  }
}

TEST_CASE("ssim is accurate even if predictions are far out of range") {
  const Tensor target = fill(3, {1, 3, 16, 16});
  const Tensor prediction = target.to(at::kDouble) * 0.1 + 300;
  const auto metric = make_metric("ssim");
  const double exact = measure(*metric, prediction, target.to(at::kDouble)).item<double>();
  CHECK(measure(*metric, prediction.to(at::kFloat), target).item<double>() == doctest::Approx(exact).epsilon(1e-4));
}

TEST_CASE("ssim needs an image at least as large as its window") {
  CHECK(make_metric("ssim")->info().minimum_size == 11);
  CHECK(make_metric("ssim", "kernel_size = 7")->info().minimum_size == 7);
}

TEST_CASE("ms_ssim uses all five scales from 161 px, fewer below, and one with a smaller window below its window") {
  // Of two constants only the coarsest scale's luminance differs from 1, which shows the exponent of that scale.
  const double c1 = 0.02 * 0.02, luminance = (2 * 0.75 + c1) / (2.25 + 0.25 + c1);
  const std::vector<double> w = {.0448, .2856, .3001, .2363, .1333};
  const double all = 1.0001;
  const auto exponent = [&](std::int64_t size) {
    const auto metric = make_metric("ms_ssim", "", size);
    const Tensor x = at::full({1, 3, size, size}, 0.5), y = at::full({1, 3, size, size}, -0.5);
    return std::log(1 - measure(*metric, x, y).item<double>()) / std::log(luminance);
  };
  CHECK(exponent(161) == doctest::Approx(w[4]).epsilon(1e-4));
  CHECK(exponent(160) == doctest::Approx(w[3] / (w[0] + w[1] + w[2] + w[3]) * all).epsilon(1e-4));
  CHECK(exponent(32) == doctest::Approx(w[1] / (w[0] + w[1]) * all).epsilon(1e-4));
  CHECK(exponent(16) == doctest::Approx(all).epsilon(1e-4));
  CHECK(exponent(8) == doctest::Approx(all).epsilon(1e-4));
  CHECK(exponent(3) == doctest::Approx(all).epsilon(1e-4));
}

TEST_CASE("ms_ssim with one scale is ssim with the window that fits") {
  const Tensor x = fill(4, {2, 3, 8, 8}), y = x * 0.8 + 0.1;
  const Tensor expected = measure(*make_metric("ssim", "kernel_size = 7\nkernel_sigma = 0.954545454545", 8), x, y);
  CHECK(max_relative_difference(measure(*make_metric("ms_ssim", "scale_weights = [1.0]", 8), x, y), expected) < 1e-5);
}

TEST_CASE("ms_ssim has a finite gradient if images are anticorrelated") {
  const Tensor x = fill(5, {2, 3, 32, 32});
  const auto metric = make_metric("ms_ssim", "", 32);
  CHECK(is_finite(gradient_of(*metric, -x, x)));
  CHECK(measure(*metric, -x, x).max().item<double>() <= 1);
}

TEST_CASE("a scale of weight 0 does not count in ms_ssim, even if images are anticorrelated there") {
  const Tensor coarse = 0.3 * fill(6, {2, 3, 16, 16}).repeat_interleave(2, 2).repeat_interleave(2, 3);
  const Tensor sign = at::arange(32).remainder(2) * 2 - 1;
  const Tensor fine = 0.3 * sign.view({32, 1}) * sign.view({1, 32});  // 0 in the mean of 2x2 pixels
  const Tensor x = coarse + fine, y = 0.5 * coarse - fine;
  const auto metric = make_metric("ms_ssim", "kernel_size = 7\nscale_weights = [0.0, 0.4, 0.6]", 32);
  const auto halved = make_metric("ms_ssim", "kernel_size = 7\nscale_weights = [0.4, 0.6]", 16);
  const Tensor expected = measure(*halved, at::avg_pool2d(x, 2), at::avg_pool2d(y, 2));
  CHECK(expected.max().item<double>() < 0.9);
  CHECK(max_relative_difference(measure(*metric, x, y), expected) < 1e-5);
}

TEST_CASE("ms_ssim refuses weights that sum to zero or are negative") {
  CHECK_THROWS_AS(make_metric("ms_ssim", "scale_weights = []", 32), ConfigError);
  // A negative exponent would reward differences.
  CHECK_THROWS_WITH_AS(make_metric("ms_ssim", "scale_weights = [1.0, -0.999999]", 32),
                       doctest::Contains("scale_weights.1: expected a number of at least 0"), ConfigError);
  CHECK_THROWS_AS(make_metric("ms_ssim", "scale_weights = [0.0, 0.0, 1.0]", 32), ConfigError);
}

}  // namespace
}  // namespace casdm
