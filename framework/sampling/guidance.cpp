#include "framework/sampling/guidance.h"

#include <ATen/ATen.h>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/loading/plugin_call.h"

namespace casdm {

namespace {

/// The first B of a batch of 2B; what has no batch dimension belongs to both halves.
Tensor at_labels(const Tensor& both, std::int64_t count) {
  return both.defined() && both.size(0) == 2 * count ? both.narrow(0, 0, count) : both;
}

Tensor extrapolated(const Tensor& both, std::int64_t count, double scale) {
  if (!both.defined()) return both;
  const Tensor with_label = both.narrow(0, 0, count);
  const Tensor without = both.narrow(0, count, count);
  return without + scale * (with_label - without);
}

/// Whether `shape` is that of an image, with any of its sides 1: broadcasting makes an image of it and nothing larger.
bool is_broadcastable(at::IntArrayRef shape, at::IntArrayRef image) {
  if (shape.size() > image.size()) return false;
  const at::IntArrayRef sides = image.slice(image.size() - shape.size());
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] != sides[i] && shape[i] != 1) return false;
  }
  return true;
}

void check_estimate(const Estimate& estimate, const Tensor& x_t, const ComponentConfig& head) {
  const auto check = [&](const char* name, const Tensor& tensor, bool may_broadcast) {
    if (!tensor.defined()) return;
    const bool fits = may_broadcast ? is_broadcastable(tensor.sizes(), x_t.sizes()) : tensor.sizes() == x_t.sizes();
    if (fits && tensor.is_floating_point() && tensor.device() == x_t.device()) return;
    throw PluginError(
        text(place_of(head), "its estimate of images ", x_t.sizes(), " on ", x_t.device(), " has ", name, " of ",
             tensor.scalar_type(), " ", tensor.sizes(), " on ", tensor.device(), "; expected ",
             may_broadcast ? "floating point that broadcasts to the images" : "floating point of the images' shape"));
  };
  check("eps", estimate.eps, false);
  check("x0_from_eps", estimate.x0_from_eps, false);
  check("x0", estimate.x0, false);
  check("gate", estimate.gate, true);
  check("variance", estimate.variance, true);
  if (estimate.x0.defined() || estimate.x0_from_eps.defined()) return;
  throw PluginError(text(place_of(head), "its estimate holds no clean image: x0_from_eps or x0 must be defined"));
}

}  // namespace

double guidance_scale(const GuidanceOptions& options, double t, std::int64_t num_train_timesteps) {
  const double part = (t + 1) / static_cast<double>(num_train_timesteps);
  return part >= options.interval[0] && part <= options.interval[1] ? options.scale : 1.0;
}

Estimate guided_estimate(const Model& model, const Tensor& x_t, double t, const Tensor& labels) {
  const std::int64_t count = x_t.size(0);
  const auto estimate = [&](const Tensor& x, const Tensor& classes) {
    Estimate result = model.head->estimate(x, at::full({x.size(0)}, t, x.options()), classes);
    check_estimate(result, x, model.head_config);
    return result;
  };
  const double scale = guidance_scale(model.guidance, t, model.schedule->num_train_timesteps());
  if (scale == 1) return estimate(x_t, labels);
  const Tensor no_label = at::full_like(labels, model.null_label);
  if (scale == 0) return estimate(x_t, no_label);

  const Estimate both = estimate(at::cat({x_t, x_t}), at::cat({labels, no_label}));
  Estimate guided;
  guided.eps = extrapolated(both.eps, count, scale);
  guided.x0_from_eps = extrapolated(both.x0_from_eps, count, scale);
  guided.x0 = extrapolated(both.x0, count, scale);
  guided.gate = at_labels(both.gate, count);
  guided.variance = at_labels(both.variance, count);
  return guided;
}

}  // namespace casdm
