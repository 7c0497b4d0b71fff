#include "transforms.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::metric_pixel {

namespace {

constexpr std::int64_t kBlock = 8;

/// ITU-T T.81, tables K.1 and K.2.
constexpr std::array<std::int64_t, 64> kLuminance = {
    16, 11, 10, 16, 24,  40,  51,  61,  12, 12, 14, 19, 26,  58,  60,  55,  //
    14, 13, 16, 24, 40,  57,  69,  56,  14, 17, 22, 29, 51,  87,  80,  62,  //
    18, 22, 37, 56, 68,  109, 103, 77,  24, 35, 55, 64, 81,  104, 113, 92,  //
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99};
constexpr std::array<std::int64_t, 64> kChrominance = {
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99,  //
    24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99,  //
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,  //
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99};

/// 1 / q at this quality, scaled to a mean of 1, [64]. Quality scales the table as in the Independent JPEG Group's
/// library.
Tensor weights_at(const std::array<std::int64_t, 64>& table, std::int64_t quality) {
  const std::int64_t scale = quality < 50 ? 5000 / quality : 200 - 2 * quality;
  std::vector<double> weights;
  for (const std::int64_t entry : table) {
    weights.push_back(1 / static_cast<double>(std::clamp<std::int64_t>((entry * scale + 50) / 100, 1, 255)));
  }
  const Tensor weight = at::tensor(weights, at::kDouble);
  return (weight / weight.mean()).to(at::kFloat);
}

/// The orthonormal DCT-II of a block as 64 filters, in row-major order of frequencies.
Tensor dct_basis() {
  const Tensor k = at::arange(kBlock, at::kDouble), x = at::arange(kBlock, at::kDouble);
  Tensor rows = at::cos(at::outer(k, 2 * x + 1) * (std::numbers::pi / (2 * kBlock))) * std::sqrt(2.0 / kBlock);
  rows[0].mul_(std::sqrt(0.5));
  const Tensor basis = rows.view({kBlock, 1, kBlock, 1}) * rows.view({1, kBlock, 1, kBlock});
  return basis.reshape({kBlock * kBlock, 1, kBlock, kBlock}).to(at::kFloat);
}

Tensor to_ycbcr() {
  return at::tensor({0.299, 0.587, 0.114, -0.168736, -0.331264, 0.5, 0.5, -0.418688, -0.081312}, at::kFloat)
      .view({3, 3});
}

/// With copies of the last row (axis 2) or column (axis 3), so that its length is a multiple of `factor`. The gradient
/// of at::replication_pad2d is not deterministic on a GPU.
Tensor extended(const Tensor& images, std::int64_t axis, std::int64_t factor) {
  const std::int64_t size = images.size(axis), missing = (factor - size % factor) % factor;
  if (missing == 0) return images;
  std::vector<std::int64_t> shape = images.sizes().vec();
  shape[static_cast<std::size_t>(axis)] = missing;
  return at::cat({images, images.narrow(axis, size - 1, 1).expand(shape)}, axis);
}

/// Each channel as a separate image, extended to multiples of `factor` by repeating its last pixels: [B C, 1, H, W].
Tensor planes_of(const Tensor& images, std::int64_t factor) {
  const Tensor planes = images.reshape({images.size(0) * images.size(1), 1, images.size(2), images.size(3)});
  return extended(extended(planes, 2, factor), 3, factor);
}

/// Bands of an image of `size` rows or columns along `dim`, each made from two of them, but the last one from one alone
/// if their number is odd: that one, which was repeated, becomes its own coefficient, so that sums of squares stay.
Tensor of_single_pixels(const Tensor& bands, std::int64_t dim, std::int64_t size) {
  if (size % 2 == 0) return bands;
  const std::int64_t last = bands.size(dim) - 1;
  return at::cat({bands.narrow(dim, 0, last), bands.narrow(dim, last, 1) * std::sqrt(0.5)}, dim);
}

Tensor sizes_of(const Tensor& coefficients, CoefficientNorm norm) {
  return norm == CoefficientNorm::l2 ? coefficients.square() : coefficients.abs();
}

}  // namespace

void DctOptions::describe(Schema<DctOptions>& s) {
  s.option("quality", &DctOptions::quality,
           "JPEG quality, whose table weights the frequencies: lower ones count more, and the more so the "
           "lower the quality. 100: all equally.")
      .range(1, 100);
  s.option("luminance", &DctOptions::luminance,
           "Compare luminance and chrominance of colour images, instead of red, green and blue.");
  s.option("norm", &DctOptions::norm, "Mean of squares or of magnitudes.");
}

DctLoss::DctLoss(const Options& options, const Spec& spec) : norm_(options.norm), basis_(dct_basis()) {
  const bool is_colour = options.luminance && spec.image.channels == 3;
  std::vector<Tensor> weights;
  for (std::int64_t channel = 0; channel < spec.image.channels; ++channel) {
    weights.push_back(weights_at(is_colour && channel > 0 ? kChrominance : kLuminance, options.quality));
  }
  weight_ = at::stack(weights);
  colour_ = is_colour ? to_ycbcr() : at::eye(spec.image.channels, at::kFloat);
}

Tensor DctLoss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  const Tensor difference = prediction - target.at(0);
  const auto type = difference.scalar_type();
  const Tensor channels = at::einsum("ij,bjhw->bihw", {colour_.to(type), difference});
  const Tensor coefficients = at::conv2d(planes_of(channels, kBlock), basis_.to(type), {}, kBlock);
  const Tensor sizes =
      sizes_of(coefficients, norm_).reshape({difference.size(0), difference.size(1), kBlock * kBlock, -1});
  return (sizes * weight_.to(type).unsqueeze(-1)).flatten(1).mean(1);
}

void WaveletOptions::describe(Schema<WaveletOptions>& s) {
  s.option("levels", &WaveletOptions::levels, "Times that the image is halved.").range(1, 10);
  OptionSpec& weights = s.option("level_weights", &WaveletOptions::level_weights,
                                 "Factors of the details of each level, fine ones first, and of the remaining coarse "
                                 "image: levels + 1 numbers. Empty: "
                                 "1 each.");
  weights.element.front().at_least(0);
  s.option("norm", &WaveletOptions::norm, "Mean of magnitudes or of squares.");
}

WaveletLoss::WaveletLoss(const Options& options, const Spec& /*spec*/)
    : levels_(options.levels), weights_(options.level_weights), norm_(options.norm) {
  if (weights_.empty()) weights_.assign(static_cast<std::size_t>(levels_) + 1, 1.0);
  if (static_cast<std::int64_t>(weights_.size()) != levels_ + 1) {
    throw ConfigError(text("level_weights: expected levels + 1 = ", levels_ + 1,
                           " numbers, the last one for the remaining coarse image, "
                           "got ",
                           weights_.size()));
  }
  if (std::all_of(weights_.begin(), weights_.end(), [](double weight) { return weight == 0; })) {
    throw ConfigError("level_weights: all are 0, so the metric compares nothing; expected one above 0");
  }
  haar_ =
      0.5 *
      at::tensor({1., 1., 1., 1., 1., -1., 1., -1., 1., 1., -1., -1., 1., -1., -1., 1.}, at::kFloat).view({4, 1, 2, 2});
}

MetricInfo WaveletLoss::info() const {
  return {.minimum_size = std::int64_t{1} << levels_, .input_range = std::nullopt};
}

Tensor WaveletLoss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  Tensor rest = prediction - target.at(0);
  const std::int64_t batch = rest.size(0);
  const double elements = static_cast<double>(rest.numel()) / static_cast<double>(batch);
  Tensor sum;
  const auto add = [&](const Tensor& coefficients, double weight) {
    const Tensor part = sizes_of(coefficients, norm_).reshape({batch, -1}).sum(1) * (weight / elements);
    sum = sum.defined() ? sum + part : part;
  };
  for (std::int64_t level = 0; level < levels_; ++level) {
    const Tensor pairs = at::conv2d(planes_of(rest, 2), haar_.to(rest.scalar_type()), {}, 2);
    const Tensor bands = of_single_pixels(of_single_pixels(pairs, 2, rest.size(2)), 3, rest.size(3));
    add(bands.narrow(1, 1, 3), weights_[static_cast<std::size_t>(level)]);
    rest = bands.narrow(1, 0, 1);
  }
  add(rest, weights_.back());
  return sum;
}

}  // namespace casdm::metric_pixel
