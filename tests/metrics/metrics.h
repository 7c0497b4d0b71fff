#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <memory>
#include <string>

#include "casdm/error.h"
#include "casdm/metric_loss.h"
#include "support/components.h"

namespace casdm::testing {

inline std::shared_ptr<MetricLoss> make_metric(const std::string& type, const std::string& options = "",
                                               std::int64_t image_size = 16, std::int64_t channels = 3) {
  return make<MetricLoss>(type, options, {.image = ImageShape::square(channels, image_size), .factory = &factory()});
}

/// The value without gradient.
inline Tensor measure(MetricLoss& metric, const Tensor& prediction, const Tensor& target) {
  const at::NoGradGuard no_grad;
  return metric(prediction, target);
}

/// The gradient of the summed distances to the prediction.
inline Tensor gradient_of(MetricLoss& metric, const Tensor& prediction, const Tensor& target) {
  const Tensor x = prediction.detach().clone().requires_grad_(true);
  metric(x, target).sum().backward();
  return x.grad();
}

inline bool is_finite(const Tensor& x) { return x.isfinite().all().item<bool>(); }

}  // namespace casdm::testing
