#include "cas_dm_head.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "casdm/random.h"

namespace casdm::head_diffusion {

void CasDmOptions::describe(Schema<CasDmOptions>& s) {
  s.component("theta", &CasDmOptions::theta, Backbone::kind, "Stage 1: predicts the noise in x_t.").required();
  s.component("phi", &CasDmOptions::phi, Backbone::kind, "Stage 2: predicts the clean image and the gate.").required();
  MixtureOptions::describe_to(s);
  s.option("input_clip", &CasDmOptions::input_clip,
           "unit clamps phi's input x0* to [-1, 1]; none passes theta's error on, amplified by sqrt((1-A_t)/A_t).");
  s.option("sees_x_t", &CasDmOptions::sees_x_t, "phi is given x_t beside x0*.");
  s.option("detach_input", &CasDmOptions::detach_input,
           "The gradient block between phi and theta; false lets x0, mu and the metrics train theta.")
      .not_with("train_mode", {"frozen_theta"});
  s.option("output", &CasDmOptions::output,
           "direct: phi's output is x0'; residual: x0' is phi's input plus its output, which starts at zero.");
  s.option("gate_detach_trunk", &CasDmOptions::gate_detach_trunk,
           "The mu loss trains only the gate, which a separate small network then predicts from x0* and x0'.");
  s.option("train_mode", &CasDmOptions::train_mode, "joint: both networks; frozen_theta: phi alone, after theta.");
}

CasDmHead::CasDmHead(const CasDmOptions& options, const Spec& spec)
    : options_(options),
      channels_(spec.image.channels),
      schedule_(require_final_signal(spec.schedule, "the head 'cascade'")),
      mixture_(options, spec.image.channels, spec.schedule),
      theta_("theta", options.theta, spec, spec.image.channels, spec.image.channels),
      phi_("phi", options.phi, spec, options.sees_x_t ? 2 * spec.image.channels : spec.image.channels,
           options.gate_detach_trunk ? spec.image.channels : spec.image.channels + mixture_.gate_channels()) {
  phi_module_ = phi_.backbone();
  if (options_.gate_detach_trunk) {
    gate_network_ =
        std::make_shared<GateNetwork>(channels_, mixture_.gate_channels(), derive_seed(spec.seed, "gate_network"));
    phi_module_ = std::make_shared<ExtendedModule>(phi_module_, "gate_network.", gate_network_);
  }
}

std::vector<NamedModule> CasDmHead::modules() const {
  NamedModule phi = phi_.module();
  phi.module = phi_module_;
  return {theta_.module(!is_theta_frozen()), std::move(phi)};
}

Tensor CasDmHead::predict_eps(const Tensor& x_t, const Tensor& t, const Condition& condition) const {
  const Tensor input = schedule_->network_input(x_t, t);
  if (!is_theta_frozen()) return theta_(input, t, condition);
  const at::NoGradGuard no_grad;
  Condition without_dropout = condition;
  without_dropout.dropout = {};
  return theta_(input, t, without_dropout);
}

Estimate CasDmHead::predict(const Tensor& x_t, const Tensor& t, const Condition& for_theta,
                            const Condition& for_phi) const {
  Estimate estimate;
  estimate.eps = predict_eps(x_t, t, for_theta);

  // The gradient block: no gradient of phi's losses gets past this line.
  const Tensor eps = options_.detach_input ? estimate.eps.detach() : estimate.eps;
  estimate.x0_from_eps = schedule_->predict_x0_from_eps(x_t, t, eps);

  const Tensor input =
      options_.input_clip == InputClip::unit ? estimate.x0_from_eps.clamp(-1, 1) : estimate.x0_from_eps;
  const Tensor output =
      phi_(options_.sees_x_t ? at::cat({input, schedule_->network_input(x_t, t)}, 1) : input, t, for_phi);
  estimate.x0 = output.narrow(1, 0, channels_);
  if (options_.output == PhiOutput::residual) estimate.x0 = input + estimate.x0;

  const Tensor gate = gate_network_ ? gate_network_->forward(estimate.x0, input, schedule_->log_snr(t))
                                    : output.narrow(1, channels_, mixture_.gate_channels());
  estimate.gate = mixture_.gate(gate);
  return estimate;
}

Estimate CasDmHead::estimate(const EstimateInput& input) {
  return predict(input.x_t, input.t, input.condition, input.condition);
}

Losses CasDmHead::losses(const TrainingBatch& batch, const MetricTerms& metrics) {
  const Estimate estimate =
      predict(batch.x_t, batch.t, batch.condition_for(theta_.name()), batch.condition_for(phi_.name()));
  return mixture_.losses(estimate, batch, metrics, theta_.name(), phi_.name());
}

}  // namespace casdm::head_diffusion
