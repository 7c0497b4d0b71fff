#include "framework/training/gradient_factors.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

namespace casdm {

namespace {

constexpr double kNormalisingEps = 1e-3;
constexpr double kMostBalance = 1e4;

}  // namespace

Tensor with_gradient_times(const Tensor& value, const Tensor& factor) {
  const Tensor constant = value.detach();
  return constant + (value - constant) * factor.detach().to(value.scalar_type());
}

Tensor self_normalising(const Tensor& value, double power) { return (value.detach() + kNormalisingEps).pow(-power); }

Tensor balancing(const Tensor& value, const Tensor& prediction, const Tensor& target, bool is_per_image) {
  if (!value.requires_grad() || !prediction.requires_grad() || !at::GradMode::is_enabled()) return at::ones_like(value);
  const Tensor gradient = torch::autograd::grad({value.sum()}, {prediction}, {}, /*retain_graph=*/true,
                                                /*create_graph=*/false, /*allow_unused=*/true)[0];
  if (!gradient.defined()) return at::ones_like(value);
  const at::NoGradGuard no_grad;
  const double elements = static_cast<double>(prediction.numel()) / static_cast<double>(prediction.size(0));
  const auto length = [&](const Tensor& of) {
    const Tensor by_image = of.flatten(1).norm(2, 1);
    return is_per_image ? by_image : by_image.norm().expand_as(by_image);
  };
  const Tensor wanted = length(prediction - target) * (2 / elements), found = length(gradient);
  return at::where(found > 0, (wanted / found).clamp_max(kMostBalance), at::ones_like(found)).to(value.scalar_type());
}

}  // namespace casdm
