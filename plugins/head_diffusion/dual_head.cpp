#include "dual_head.h"

#include <ATen/ATen.h>

namespace casdm::head_diffusion {

void DualOptions::describe(Schema<DualOptions>& s) {
  s.component("theta", &DualOptions::theta, Backbone::kind, "Predicts the noise, the clean image and the gate.")
      .required();
  MixtureOptions::describe_to(s);
}

DualHead::DualHead(const DualOptions& options, const Spec& spec)
    : channels_(spec.image.channels),
      schedule_(require_final_signal(spec.schedule, "the head 'dual'")),
      mixture_(options, spec.image.channels, spec.schedule),
      theta_("theta", options.theta, spec, spec.image.channels, 2 * spec.image.channels + mixture_.gate_channels()) {}

std::vector<NamedModule> DualHead::modules() const { return {theta_.module()}; }

Estimate DualHead::predict(const Tensor& x_t, const Tensor& t, const Condition& condition) const {
  const Tensor output = theta_(schedule_->network_input(x_t, t), t, condition);
  Estimate estimate;
  estimate.eps = output.narrow(1, 0, channels_);
  estimate.x0_from_eps = schedule_->predict_x0_from_eps(x_t, t, estimate.eps);
  estimate.x0 = output.narrow(1, channels_, channels_);
  estimate.gate = mixture_.gate(output.narrow(1, 2 * channels_, mixture_.gate_channels()));
  return estimate;
}

Estimate DualHead::estimate(const EstimateInput& input) { return predict(input.x_t, input.t, input.condition); }

Losses DualHead::losses(const TrainingBatch& batch, const MetricTerms& metrics) {
  const Estimate estimate = predict(batch.x_t, batch.t, batch.condition_for(theta_.name()));
  return mixture_.losses(estimate, batch, metrics, theta_.name(), theta_.name());
}

}  // namespace casdm::head_diffusion
