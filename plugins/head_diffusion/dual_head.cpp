#include "dual_head.h"

#include <ATen/ATen.h>

namespace casdm::head_diffusion {

void DualOptions::describe(Schema<DualOptions>& s) {
  s.component("theta", &DualOptions::theta, Backbone::kind, "Predicts the noise, the clean image and the gate.")
      .required();
  MixtureOptions::describe_to(s);
}

DualHead::DualHead(const DualOptions& options, const Spec& spec)
    : channels_(spec.channels),
      schedule_(with_signal(spec.schedule, "the head 'dual'")),
      mixture_(options, spec.channels, spec.schedule),
      theta_("theta", options.theta, spec, spec.channels, 2 * spec.channels + mixture_.gate_channels()) {}

std::vector<NamedModule> DualHead::modules() const { return {{theta_.name(), theta_.backbone(), true}}; }

Estimate DualHead::predict(const Tensor& x_t, const Tensor& t, const Condition& condition) const {
  const Tensor output = theta_(x_t, t, condition);
  Estimate estimate;
  estimate.eps = output.narrow(1, 0, channels_);
  estimate.x0_from_eps = schedule_->predict_x0_from_eps(x_t, t, estimate.eps);
  estimate.x0 = output.narrow(1, channels_, channels_);
  estimate.gate = mixture_.gate(output.narrow(1, 2 * channels_, mixture_.gate_channels()));
  return estimate;
}

Estimate DualHead::estimate(const Tensor& x_t, const Tensor& t, const Tensor& labels) {
  return predict(x_t, t, sampling_condition(labels));
}

Losses DualHead::losses(const TrainingBatch& batch, const MetricTerms& metrics) {
  const Estimate estimate = predict(batch.x_t, batch.t, batch.condition(theta_.name()));
  return mixture_.losses(estimate, batch, metrics, theta_.name(), theta_.name());
}

}  // namespace casdm::head_diffusion
