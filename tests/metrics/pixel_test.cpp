#include <cmath>

#include "metrics/metrics.h"

namespace casdm {
namespace {

using namespace testing;

constexpr double kFloatBound = 1e-6;  // a few roundings of float32

/// One pair of 3x8x8 images whose difference is d everywhere but in the first pixel of each channel, where it is e.
std::pair<Tensor, Tensor> pair_with(double d, double e) {
  const Tensor target = fill(1, {1, 3, 8, 8}) * 0.5;
  Tensor prediction = target + d;
  prediction.select(3, 0).select(2, 0).add_(e - d);
  return {prediction, target};
}

double value(const std::string& type, const std::string& options, const std::pair<Tensor, Tensor>& pair) {
  const auto metric = make_metric(type, options, pair.second.size(2), pair.second.size(1));
  return measure(*metric, pair.first, pair.second).item<double>();
}

TEST_CASE("elementwise metrics equal their definitions") {
  const auto pair = pair_with(0.25, -1.5);  // 189 and 3 of 192 elements
  const auto mean = [](double at_d, double at_e) { return (189 * at_d + 3 * at_e) / 192; };
  CHECK(value("l1", "", pair) == doctest::Approx(mean(0.25, 1.5)).epsilon(kFloatBound));
  CHECK(value("l2", "", pair) == doctest::Approx(mean(0.0625, 2.25)).epsilon(kFloatBound));
  CHECK(value("huber", "", pair) == doctest::Approx(mean(0.03125, 1.0)).epsilon(kFloatBound));
  CHECK(value("huber", "delta = 0.1", pair) == doctest::Approx(mean(0.02, 0.145)).epsilon(kFloatBound));
  const double c = 0.00054 * std::sqrt(192.0), norm = 189 * 0.0625 + 3 * 2.25;
  CHECK(value("pseudo_huber", "", pair) == doctest::Approx(std::sqrt(norm + c * c) - c).epsilon(kFloatBound));
  CHECK(value("pseudo_huber", "c = 3", pair) == doctest::Approx(std::sqrt(norm + 9) - 3).epsilon(kFloatBound));
  const double epsilon = 0.5;
  CHECK(value("charbonnier", "epsilon = 0.5", pair) ==
        doctest::Approx(mean(std::hypot(0.25, epsilon), std::hypot(1.5, epsilon)) - epsilon).epsilon(kFloatBound));
}

TEST_CASE("charbonnier turns linear at a thousandth by default") {
  const Tensor target = at::zeros({1, 3, 8, 8}, at::kDouble);
  const double d = 1e-3;
  CHECK(value("charbonnier", "", {target + d, target}) == doctest::Approx((std::sqrt(2) - 1) * d).epsilon(1e-9));
}

TEST_CASE("huber and at::huber_loss agree") {
  const Tensor x = fill(2, {4, 3, 8, 8}) * 3, y = fill(3, {4, 3, 8, 8});
  const Tensor expected = at::huber_loss(x, y, at::Reduction::None, 0.7).flatten(1).mean(1);
  CHECK(max_relative_difference(measure(*make_metric("huber", "delta = 0.7", 8), x, y), expected) < kFloatBound);
}

TEST_CASE("gradient measures the slope of a ramp, and nothing of a constant") {
  const Tensor ramp = (at::arange(8, at::kFloat) * 0.125).expand({1, 3, 8, 8});
  const Tensor flat = at::zeros({1, 3, 8, 8});
  CHECK(value("gradient", "", {ramp, flat}) == doctest::Approx(0.125).epsilon(kFloatBound));
  CHECK(value("gradient", "", {ramp.transpose(2, 3), flat}) == doctest::Approx(0.125).epsilon(kFloatBound));
  CHECK(value("gradient", "", {ramp + 0.5, ramp}) == doctest::Approx(0.0).epsilon(kFloatBound));
}

TEST_CASE("spectral is blind to cyclic shifts and sees a wave's amplitude") {
  const Tensor image = fill(4, {1, 3, 8, 8});
  CHECK(value("spectral", "", {image.roll({3, 2}, {2, 3}), image}) < 1e-6);
  // A cosine of amplitude a has two coefficients of a sqrt(H W) / 2 in the orthonormal transform; of H W = 64.
  for (const std::int64_t width : {8, 9}) {
    const Tensor wave = (at::arange(width, at::kDouble) * (2 * M_PI * 2 / static_cast<double>(width))).cos() * 0.5;
    const Tensor image = wave.expand({1, 1, width, width});
    const double expected = 2 * 0.25 * static_cast<double>(width) / static_cast<double>(width * width);
    CHECK(value("spectral", "", {image, at::zeros_like(image)}) == doctest::Approx(expected).epsilon(1e-9));
  }
}

TEST_CASE("spectral weighs each frequency of the full transform once, at odd and even width") {
  const auto magnitude = [](const Tensor& image) { return at::fft_fft2(image, {}, {-2, -1}, "ortho").abs(); };
  for (const std::int64_t width : {8, 9}) {
    const Tensor x = fill(5, {2, 3, 8, width}), y = fill(6, {2, 3, 8, width});
    const Tensor expected = (magnitude(x) - magnitude(y)).abs().flatten(1).mean(1);
    CHECK(max_relative_difference(measure(*make_metric("spectral", "", 8), x, y), expected) < 1e-5);
    const Tensor logarithmic = (magnitude(x).log1p() - magnitude(y).log1p()).abs().flatten(1).mean(1);
    CHECK(max_relative_difference(measure(*make_metric("spectral", "logarithmic = true", 8), x, y), logarithmic) <
          1e-5);
  }
}

}  // namespace
}  // namespace casdm
