#include "structural.h"

#include <ATen/ATen.h>

namespace casdm::metric_pixel {

GradientLoss::GradientLoss(const Options& /*options*/, const Spec& /*spec*/) {
  const Tensor smooth = at::tensor({0.25, 0.5, 0.25}, at::kFloat);
  const Tensor slope = at::tensor({-0.5, 0.0, 0.5}, at::kFloat);
  sobel_ = at::stack({at::outer(smooth, slope), at::outer(slope, smooth)}).unsqueeze(1);
}

MetricInfo GradientLoss::info() const { return {.minimum_size = 3, .input_range = std::nullopt}; }

Tensor GradientLoss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  // The operators are linear: one pass over the difference serves both images.
  const Tensor difference = prediction - target.at(0);
  const std::int64_t batch = difference.size(0), channels = difference.size(1);
  const Tensor planes = difference.reshape({batch * channels, 1, difference.size(2), difference.size(3)});
  const Tensor slopes = at::conv2d(planes, sobel_.to(planes.scalar_type())).abs().sum(1);
  return slopes.reshape({batch, -1}).mean(1);
}

SpectralLoss::SpectralLoss(const Options& options, const Spec& /*spec*/) : logarithmic_(options.logarithmic) {}

std::vector<Tensor> SpectralLoss::prepare(const Tensor& target) { return {magnitudes(target)}; }

Tensor SpectralLoss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  const Tensor difference = (magnitudes(prediction) - target.at(0)).abs();
  // A real image's transform is symmetric: each stored column stands for two, but the first and, at even width, the
  // last.
  const std::int64_t width = prediction.size(3), stored = width / 2 + 1;
  Tensor weight = at::full({stored}, 2.0 / static_cast<double>(width), difference.options());
  weight.narrow(0, 0, 1).mul_(0.5);
  if (width % 2 == 0) weight.narrow(0, stored - 1, 1).mul_(0.5);
  return (difference * weight).sum(3).flatten(1).mean(1);
}

Tensor SpectralLoss::magnitudes(const Tensor& images) const {
  const bool is_double = images.scalar_type() == at::kDouble;
  const Tensor magnitude = at::fft_rfft2(images.to(is_double ? at::kDouble : at::kFloat), {}, {-2, -1}, "ortho").abs();
  return logarithmic_ ? magnitude.log1p() : magnitude;
}

void SpectralOptions::describe(Schema<SpectralOptions>& s) {
  s.option("logarithmic", &SpectralOptions::logarithmic,
           "Compare log(1 + magnitude), so that high frequencies, whose magnitudes are small, count.");
}

}  // namespace casdm::metric_pixel
