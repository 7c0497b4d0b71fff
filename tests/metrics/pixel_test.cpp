#include <cmath>

#include "metrics/metrics.h"

namespace casdm {
namespace {

using namespace testing;

constexpr double kFloatBound = 1e-6;  // a few float32 roundings

/// One pair of 3x8x8 images whose difference is d everywhere except in the first pixel of each channel, where it is e.
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

TEST_CASE("charbonnier becomes linear at a thousandth by default") {
  const Tensor target = at::zeros({1, 3, 8, 8}, at::kDouble);
  const double d = 1e-3;
  CHECK(value("charbonnier", "", {target + d, target}) == doctest::Approx((std::sqrt(2) - 1) * d).epsilon(1e-9));
}

TEST_CASE("huber and at::huber_loss agree") {
  const Tensor x = fill(2, {4, 3, 8, 8}) * 3, y = fill(3, {4, 3, 8, 8});
  const Tensor expected = at::huber_loss(x, y, at::Reduction::None, 0.7).flatten(1).mean(1);
  CHECK(max_relative_difference(measure(*make_metric("huber", "delta = 0.7", 8), x, y), expected) < kFloatBound);
}

TEST_CASE("gradient measures the slope of a ramp, and is 0 for a constant") {
  const Tensor ramp = (at::arange(8, at::kFloat) * 0.125).expand({1, 3, 8, 8});
  const Tensor flat = at::zeros({1, 3, 8, 8});
  CHECK(value("gradient", "", {ramp, flat}) == doctest::Approx(0.125).epsilon(kFloatBound));
  CHECK(value("gradient", "", {ramp.transpose(2, 3), flat}) == doctest::Approx(0.125).epsilon(kFloatBound));
  CHECK(value("gradient", "", {ramp + 0.5, ramp}) == doctest::Approx(0.0).epsilon(kFloatBound));
}

TEST_CASE("spectral ignores cyclic shifts and measures a wave's amplitude") {
  const Tensor image = fill(4, {1, 3, 8, 8});
  CHECK(value("spectral", "", {image.roll({3, 2}, {2, 3}), image}) < 1e-6);
  // A cosine of amplitude a has two coefficients of a sqrt(H W) / 2 in the orthonormal transform; with H W = 64.
  for (const std::int64_t width : {8, 9}) {
    const Tensor wave = (at::arange(width, at::kDouble) * (2 * M_PI * 2 / static_cast<double>(width))).cos() * 0.5;
    const Tensor image = wave.expand({1, 1, width, width});
    const double expected = 2 * 0.25 * static_cast<double>(width) / static_cast<double>(width * width);
    CHECK(value("spectral", "", {image, at::zeros_like(image)}) == doctest::Approx(expected).epsilon(1e-9));
  }
}

TEST_CASE("spectral weights each frequency of the full transform once, at odd and even width") {
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

TEST_CASE("dct without weights is the mean square if blocks are complete") {
  const Tensor x = fill(7, {2, 3, 16, 24}), y = fill(8, {2, 3, 16, 24});
  const Tensor plain = (x - y).square().flatten(1).mean(1);
  const std::string even = "quality = 100\nluminance = false\n";
  CHECK(max_relative_difference(measure(*make_metric("dct", even), x, y), plain) < 1e-5);
  // The table is not flat at 99, and no coefficient is lost.
  CHECK(max_relative_difference(measure(*make_metric("dct", "quality = 50\nluminance = false\n"), x, y), plain) > 1e-2);
  const Tensor l1 = measure(*make_metric("dct", even + "norm = \"l1\"\n"), x * 3, y * 3);
  CHECK(max_relative_difference(l1, 3 * measure(*make_metric("dct", even + "norm = \"l1\"\n"), x, y)) < 1e-5);
}

TEST_CASE("dct weights a wave by the reciprocal of JPEG's table") {
  // Columns k and rows l of one block: (K.1 of T.81)[l][k], at quality 50 the table itself.
  const auto wave = [](int k, int l) {
    const Tensor x = at::arange(8, at::kDouble);
    const Tensor along = ((2 * x + 1) * (k * M_PI / 16)).cos(), across = ((2 * x + 1) * (l * M_PI / 16)).cos();
    const Tensor image = across.view({8, 1}) * along.view({1, 8});
    return (image / image.norm()).expand({1, 1, 8, 8});
  };
  const auto found = [&](int k, int l) {
    return value("dct", "quality = 50", {wave(k, l), at::zeros({1, 1, 8, 8}, at::kDouble)});
  };
  const double constant = found(0, 0);
  CHECK(found(1, 0) / constant == doctest::Approx(16.0 / 11).epsilon(1e-6));
  CHECK(found(0, 1) / constant == doctest::Approx(16.0 / 12).epsilon(1e-6));
  CHECK(found(7, 0) / constant == doctest::Approx(16.0 / 61).epsilon(1e-6));
  CHECK(found(2, 5) / constant == doctest::Approx(16.0 / 55).epsilon(1e-6));
  CHECK(found(7, 7) / constant == doctest::Approx(16.0 / 99).epsilon(1e-6));
  double sum = 0;
  for (int k = 0; k < 8; ++k) {
    for (int l = 0; l < 8; ++l) sum += found(k, l);
  }
  CHECK(sum == doctest::Approx(1).epsilon(1e-6));  // 64 weights of mean 1, each coefficient 1/64 of the mean
  // Quality 75 halves the table, 25 doubles it; entries are whole and at most 255.
  const auto ratio = [&](const std::string& options) {
    return value("dct", options, {wave(7, 0), at::zeros({1, 1, 8, 8}, at::kDouble)}) /
           value("dct", options, {wave(0, 0), at::zeros({1, 1, 8, 8}, at::kDouble)});
  };
  CHECK(ratio("quality = 75") == doctest::Approx(8.0 / 31).epsilon(1e-6));
  CHECK(ratio("quality = 25") == doctest::Approx(32.0 / 122).epsilon(1e-6));
  CHECK(ratio("quality = 10") == doctest::Approx(80.0 / 255).epsilon(1e-6));
}

TEST_CASE("dct sees grey only in luminance, and extends images that do not fill a block") {
  const Tensor grey = at::full({1, 3, 8, 8}, 0.5, at::kDouble), zero = at::zeros({1, 3, 8, 8}, at::kDouble);
  const double in_y = value("dct", "quality = 50", {grey, zero});
  const double plain = value("dct", "quality = 50", {grey.narrow(1, 0, 1), zero.narrow(1, 0, 1)});
  CHECK(in_y == doctest::Approx(plain / 3).epsilon(1e-5));  // one of three channels
  CHECK(value("dct", "quality = 50", {grey.narrow(2, 0, 5).narrow(3, 0, 3), zero.narrow(2, 0, 5).narrow(3, 0, 3)}) ==
        doctest::Approx(in_y).epsilon(1e-5));
}

TEST_CASE("squares of wavelets add up to those of pixels, and each band responds to its scale") {
  // Also if a row or a column has no other to be paired with, at any level.
  for (const auto& [height, width] : {std::pair(16, 24), {17, 24}, {24, 17}, {28, 28}, {20, 9}, {23, 31}}) {
    INFO(height, " x ", width);
    const Tensor x = fill(7, {2, 3, height, width}), y = fill(8, {2, 3, height, width});
    CHECK(max_relative_difference(measure(*make_metric("wavelet", "norm = \"l2\""), x, y),
                                  (x - y).square().flatten(1).mean(1)) < 1e-5);
  }
  // A board of squares of 2^k pixels is only in the details of level k; with a period of 16 it is in the remainder.
  for (int k = 0; k < 4; ++k) {
    const Tensor place = at::div(at::arange(16, at::kLong), std::int64_t{1} << k, "floor").remainder(2);
    const Tensor board = (1 - 2 * (place.view({16, 1}) + place.view({1, 16})).remainder(2)).to(at::kFloat) * 0.5;
    for (int level = 0; level < 4; ++level) {
      std::string weights = "level_weights = [0, 0, 0, 0]\n";
      weights[17 + 3 * static_cast<std::size_t>(level)] = '1';
      const double found =
          value("wavelet", weights + "norm = \"l2\"", {board.expand({1, 1, 16, 16}), at::zeros({1, 1, 16, 16})});
      CHECK(found == doctest::Approx(level == k ? 0.25 : 0).epsilon(1e-6));
    }
  }
}

TEST_CASE("the mean magnitude of wavelets of a constant is that of its coarsest squares") {
  // 16 x 16 pixels of c become 2 x 2 coefficients of 8 c.
  CHECK(value("wavelet", "", {at::full({1, 1, 16, 16}, 0.5), at::zeros({1, 1, 16, 16})}) ==
        doctest::Approx(4 * 8 * 0.5 / 256).epsilon(1e-6));
  CHECK_THROWS_WITH_AS(make_metric("wavelet", "level_weights = [0, 0, 0, 0]"), doctest::Contains("all are 0"),
                       ConfigError);
  CHECK_THROWS_WITH_AS(make_metric("wavelet", "level_weights = [1, 1]"), doctest::Contains("levels + 1 = 4 numbers"),
                       ConfigError);
}

TEST_CASE("edge measures how steep an edge is, whatever its direction") {
  const Tensor ramp = (at::arange(12, at::kDouble) * 0.125).expand({1, 3, 12, 12}).contiguous();
  const Tensor flat = at::zeros_like(ramp);
  // A blur does not change a ramp; three channels add up to sqrt(3) times one.
  const double expected = std::sqrt(3 * 0.125 * 0.125 + 1e-6) - 1e-3;
  for (const char* sigma : {"sigma = 0.0", "sigma = 1.0"}) {
    CHECK(value("edge", sigma, {ramp, flat}) == doctest::Approx(expected).epsilon(1e-5));
    CHECK(value("edge", sigma, {ramp.transpose(2, 3), flat}) == doctest::Approx(expected).epsilon(1e-5));
    CHECK(value("edge", sigma, {ramp.flip(3), ramp}) == doctest::Approx(0).epsilon(1e-6));
    CHECK(value("edge", sigma, {ramp + 0.5, ramp}) == doctest::Approx(0).epsilon(1e-6));
  }
  CHECK(make_metric("edge", "sigma = 1.0")->info().minimum_size == 9);
  CHECK(make_metric("edge", "sigma = 0.0")->info().minimum_size == 3);
}

}  // namespace
}  // namespace casdm
