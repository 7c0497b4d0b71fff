#include "magnitude.h"

#include <ATen/ATen.h>

#include <cmath>

namespace casdm::unet {

namespace {

constexpr double kEps = 1e-4;

}  // namespace

Tensor pixel_normalised(const Tensor& x) {
  const double scale = 1 / std::sqrt(static_cast<double>(x.size(1)));
  return x / (x.norm(2, {1}, /*keepdim=*/true) * scale + kEps);
}

Tensor magnitude_silu(const Tensor& x) { return at::silu(x) / 0.596; }

Tensor magnitude_sum(const Tensor& a, const Tensor& b, double t) {
  return at::lerp(a, b, t) / std::sqrt((1 - t) * (1 - t) + t * t);
}

Tensor magnitude_cat(const Tensor& a, const Tensor& b, double t) {
  const auto of_a = static_cast<double>(a.size(1)), of_b = static_cast<double>(b.size(1));
  const double scale = std::sqrt((of_a + of_b) / ((1 - t) * (1 - t) + t * t));
  return at::cat({a * (scale / std::sqrt(of_a) * (1 - t)), b * (scale / std::sqrt(of_b) * t)}, 1);
}

Tensor normalised_weight(const Tensor& weight) {
  const Tensor rows = weight.flatten(1);
  const double scale = 1 / std::sqrt(static_cast<double>(rows.size(1)));
  return (rows / (rows.norm(2, {1}, /*keepdim=*/true) * scale + kEps)).view_as(weight);
}

MagnitudeLayer::MagnitudeLayer(ParameterMaker& make, const std::string& name, at::IntArrayRef shape)
    : weight(make.normal(name + ".weight", shape)) {}

Tensor MagnitudeLayer::operator()(const Tensor& x, const Tensor& gain) const {
  if (!weight.defined()) return x;
  const double fan_in = static_cast<double>(weight.numel()) / static_cast<double>(weight.size(0));
  Tensor w = normalised_weight(weight) / std::sqrt(fan_in);
  if (gain.defined()) w = w * gain;
  return weight.dim() == 2 ? at::linear(x, w) : at::conv2d(x, w, {}, 1, weight.size(2) / 2);
}

}  // namespace casdm::unet
