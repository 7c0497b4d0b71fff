#include "magnitude.h"

#include <ATen/ATen.h>

#include <cmath>

#include "convolution/conv2d_3x3.h"
#include "layers.h"

namespace casdm::unet {

namespace {

constexpr double kEps = 1e-4;
constexpr double kRounding = 1e-5;  // of a row's magnitude

/// The norm of x over `dim`, which is kept; computed in float32 for half precision.
Tensor norm_over(const Tensor& x, std::int64_t dim) {
  if (x.scalar_type() != at::kHalf && x.scalar_type() != at::kBFloat16) return x.norm(2, {dim}, /*keepdim=*/true);
  return x.norm(2, {dim}, /*keepdim=*/true, at::kFloat);
}

}  // namespace

Tensor normalised_over(const Tensor& x, std::int64_t dim) {
  const double scale = 1 / std::sqrt(static_cast<double>(x.size(dim)));
  return x / (norm_over(x, dim) * scale + kEps).to(x.scalar_type());
}

Tensor magnitude_silu(const Tensor& x) { return at::silu(x) / 0.596; }

Tensor magnitude_sum(const Tensor& a, const Tensor& b, double t) {
  return at::lerp(a, b.to(a.scalar_type()), t) / std::sqrt((1 - t) * (1 - t) + t * t);
}

Tensor magnitude_cat(const Tensor& a, const Tensor& b, double t) {
  const auto of_a = static_cast<double>(a.size(1)), of_b = static_cast<double>(b.size(1));
  const double scale = std::sqrt((of_a + of_b) / ((1 - t) * (1 - t) + t * t));
  return at::cat({a * (scale / std::sqrt(of_a) * (1 - t)), b * (scale / std::sqrt(of_b) * t)}, 1);
}

Tensor normalised_weight(const Tensor& weight) { return normalised_over(weight.flatten(1), 1).view_as(weight); }

void reset_rows(const Tensor& weight) {
  const Tensor stored = weight.variable_data();  // no new version: what an earlier evaluation kept has the same bits
  const Tensor rows = stored.view({stored.size(0), -1});
  const Tensor magnitude = norm_over(rows, 1) / std::sqrt(static_cast<double>(rows.size(1)));
  const Tensor is_off = magnitude.sub(1).abs().gt(kRounding).logical_and(magnitude.gt(0));
  rows.div_(at::where(is_off, magnitude, at::ones({}, magnitude.options())));
}

MagnitudeLayer::MagnitudeLayer(ParameterMaker& make, const std::string& name, at::IntArrayRef shape)
    : weight(make.normal(name + ".weight", shape)) {}

Tensor MagnitudeLayer::operator()(const Tensor& x, const Tensor& gain) const {
  if (!weight.defined()) return x;
  const double fan_in = static_cast<double>(weight.numel()) / static_cast<double>(weight.size(0));
  Tensor w = normalised_weight(weight) / std::sqrt(fan_in);
  if (gain.defined()) w = w * gain;
  if (weight.dim() == 2) return at::linear(x, w);
  if (weight.size(2) == 3 && x.is_cpu()) return convolution::conv2d_3x3(x, w, {});
  return at::conv2d(x, kernel_for(x, w), {}, 1, weight.size(2) / 2);
}

}  // namespace casdm::unet
