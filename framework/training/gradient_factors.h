#pragma once

#include <ATen/core/Tensor.h>

/// Factors that change the gradient of a loss but not its value, so the records stay the same.
namespace casdm {

using at::Tensor;

/// `value` [B], bit for bit, with its gradient multiplied by `factor` [B], which itself gets no gradient.
Tensor with_gradient_times(const Tensor& value, const Tensor& factor);

/// 1 / (value + 0.001)^power [B], without gradient: adaptive weights (Geng et al. 2025, "Mean flows").
Tensor self_normalising(const Tensor& value, double power);

/// The factor [B] that makes the gradient of `value` with respect to the prediction as long as that of the mean squared
/// error, per image or over the whole batch. At most 10,000, and 1 if there is no gradient (Esser et al. 2021, "Taming
/// transformers", equation 7, at the prediction instead of at a layer).
/// @param value       [B], computed from `prediction`; its graph is kept
/// @param prediction  [B, C, H, W]
/// @param target      [B, C, H, W]
Tensor balancing(const Tensor& value, const Tensor& prediction, const Tensor& target, bool is_per_image);

}  // namespace casdm
