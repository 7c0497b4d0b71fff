#include "structural.h"

#include <ATen/ATen.h>

#include <cmath>

namespace casdm::metric_pixel {

namespace {

/// Half the difference of the two neighbours along `axis`, at every position that has both.
Tensor slope(const Tensor& x, std::int64_t axis) {
  const std::int64_t places = x.size(axis) - 2;
  return (x.narrow(axis, 2, places) - x.narrow(axis, 0, places)) * 0.5;
}

/// At the same positions, the neighbours and the position itself weighted (1, 2, 1) / 4.
Tensor smooth(const Tensor& x, std::int64_t axis) {
  const std::int64_t places = x.size(axis) - 2;
  return x.narrow(axis, 1, places) * 0.5 + (x.narrow(axis, 2, places) + x.narrow(axis, 0, places)) * 0.25;
}

}  // namespace

Tensor GradientLoss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  // The operators are linear, so one pass over the difference is enough for both images.
  const Tensor difference = prediction - target.at(0);
  const Tensor slopes = slope(smooth(difference, 2), 3).abs() + slope(smooth(difference, 3), 2).abs();
  return slopes.flatten(1).mean(1);
}

void EdgeOptions::describe(Schema<EdgeOptions>& s) {
  s.option("sigma", &EdgeOptions::sigma, "Standard deviation of the blur before edges are detected; 0: none.")
      .range(0, 16)
      .in_unit("px");
}

EdgeLoss::EdgeLoss(const Options& options, const Spec& /*spec*/) {
  const auto radius = static_cast<std::int64_t>(std::ceil(3 * options.sigma));
  if (radius == 0) return;
  const Tensor place = at::arange(-radius, radius + 1, at::kDouble);
  const Tensor gauss = (-0.5 * (place / options.sigma).square()).exp();
  blur_ = (gauss / gauss.sum()).to(at::kFloat);
}

NamedTensors EdgeLoss::buffers() const { return blur_.defined() ? NamedTensors{{"blur", blur_}} : NamedTensors(); }

MetricInfo EdgeLoss::info() const {
  return {.minimum_size = blur_.defined() ? blur_.size(0) + 2 : 3, .input_range = std::nullopt};
}

Tensor EdgeLoss::strength(const Tensor& images) const {
  Tensor x = images;
  if (blur_.defined()) {
    const Tensor blur = blur_.to(x.scalar_type());
    const Tensor planes = x.reshape({x.size(0) * x.size(1), 1, x.size(2), x.size(3)});
    const Tensor blurred = at::conv2d(at::conv2d(planes, blur.view({1, 1, -1, 1})), blur.view({1, 1, 1, -1}));
    x = blurred.view({x.size(0), x.size(1), blurred.size(2), blurred.size(3)});
  }
  const Tensor slopes = slope(smooth(x, 2), 3).square() + slope(smooth(x, 3), 2).square();
  return (slopes.sum(1) + 1e-6).sqrt();
}

Tensor EdgeLoss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  return (strength(prediction) - target.at(0)).abs().flatten(1).mean(1);
}

SpectralLoss::SpectralLoss(const Options& options, const Spec& /*spec*/) : logarithmic_(options.logarithmic) {}

std::vector<Tensor> SpectralLoss::prepare(const Tensor& target) { return {magnitudes(target)}; }

Tensor SpectralLoss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  const Tensor difference = (magnitudes(prediction) - target.at(0)).abs();
  // A real image's transform is symmetric: each stored column stands for two, except the first and, for even width, the
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
