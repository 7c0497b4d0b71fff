#include "framework/sampling/guidance.h"

#include <ATen/ATen.h>

#include <utility>

#include "framework/composition/contract.h"
#include "framework/loading/untouched.h"

namespace casdm {

namespace {

constexpr std::int64_t kImageDimensions = 4;

/// The first half of a batch of 2B; a tensor without a batch dimension, or with one that is broadcast, belongs to both
/// halves.
Tensor at_labels(const Tensor& both, std::int64_t count) {
  const bool has_batch = both.defined() && both.dim() == kImageDimensions && both.size(0) == 2 * count;
  return has_batch ? both.narrow(0, 0, count) : both;
}

/// In the dtype of x_t: the sampler computes in that dtype whatever the networks return.
Estimate in_type_of(Estimate estimate, const Tensor& x_t) {
  for (Tensor* part : {&estimate.eps, &estimate.x0_from_eps, &estimate.x0, &estimate.gate, &estimate.variance}) {
    if (part->defined()) *part = part->to(x_t.scalar_type());
  }
  return estimate;
}

Tensor extrapolated(const Tensor& both, std::int64_t count, double scale) {
  if (!both.defined()) return both;
  const Tensor with_label = both.narrow(0, 0, count);
  const Tensor without = both.narrow(0, count, count);
  return without + scale * (with_label - without);
}

}  // namespace

double guidance_scale(const GuidanceOptions& options, double fraction) {
  return fraction >= options.interval[0] && fraction <= options.interval[1] ? options.scale : 1.0;
}

Estimate guided_estimate(const Model& model, const Tensor& x_t, const SampleStep& step, const Condition& condition) {
  const std::int64_t count = x_t.size(0);
  const Tensor& labels = condition.labels;
  const auto estimate = [&](const Tensor& x, const Tensor& classes) {
    EstimateInput input;
    input.x_t = x;
    input.t = at::full({x.size(0)}, step.t, x.options());
    input.t_next = at::full({x.size(0)}, step.t_next, x.options());
    input.condition = condition;
    input.condition.labels = classes;
    if (x.size(0) == 2 * count) {
      for (auto& [name, extra] : input.condition.extras) extra = at::cat({extra, extra});
    }
    const Untouched extras(handles_in(input.condition.extras), Untouched::Compared::bytes_if_small);
    const Untouched given({x}), times({input.t, input.t_next, input.condition.labels, input.condition.augment});
    Estimate estimate = model.head.call(&CascadeHead::estimate, input);
    given.check(model.head, "the images x_t");
    times.check(model.head, "the times or labels");
    extras.check(model.head, "the extras");
    check_estimate(model.head, estimate, x);
    return in_type_of(std::move(estimate), x);
  };
  const double scale = guidance_scale(model.guidance, model.schedule->fraction(step.t));
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
