#include <ATen/ATen.h>

#include "casdm/head_network.h"
#include "casdm/plugin.h"

namespace {

using at::Tensor;

struct X0ResidualOptions {
  casdm::ComponentConfig theta;
  casdm::ComponentConfig phi;
  double v_weight = 1.0;
  double x0_weight = 1.0;

  static void describe(casdm::Schema<X0ResidualOptions>& s) {
    s.component("theta", &X0ResidualOptions::theta, casdm::Backbone::kind, "Stage 1: predicts v.").required();
    s.component("phi", &X0ResidualOptions::phi, casdm::Backbone::kind, "Stage 2: corrects the clean image.").required();
    s.option("v_weight", &X0ResidualOptions::v_weight, "Factor of theta's loss |v - v'|^2.").at_least(0);
    s.option("x0_weight", &X0ResidualOptions::x0_weight, "Factor of phi's loss |x0 - x0'|^2.").at_least(0);
  }
};

/// A cascade without a gate. Stage 1 predicts v (Salimans & Ho 2022), stage 2 corrects the clean image that v implies,
/// by an amount that decreases with the noise, since x_t itself approaches the clean image:
///
///     v'  = theta(x_t, t)                  x0* = alpha_t x_t - sigma_t v'
///     x0' = x0* + sigma_t phi([sg(x0*), x_t], t)
///
/// The v loss trains theta; the x0 loss and all metrics act on x0' and train phi.
class X0ResidualHead : public casdm::CascadeHead {
 public:
  using Options = X0ResidualOptions;

  X0ResidualHead(const Options& options, const Spec& spec)
      : options_(options),
        schedule_(spec.schedule),
        theta_("theta", options.theta, spec, spec.image.channels, spec.image.channels),
        phi_("phi", options.phi, spec, 2 * spec.image.channels, spec.image.channels) {}

  std::vector<casdm::NamedModule> modules() const override { return {theta_.module(), phi_.module()}; }

  casdm::Estimate estimate(const casdm::EstimateInput& input) override {
    return predict(input.x_t, input.t, input.condition, input.condition).estimate;
  }

  casdm::Losses losses(const casdm::TrainingBatch& batch, const casdm::MetricTerms& metrics) override {
    const auto [v, estimate] = predict(batch.x_t, batch.t, batch.condition_for("theta"), batch.condition_for("phi"));
    const Tensor true_v = schedule_->velocity(batch.x0, batch.t, batch.eps);
    casdm::Losses losses;
    losses.terms = metrics.evaluate(estimate.x0, batch, "phi");
    losses.terms.push_back({"v", casdm::squared_error(true_v, v), options_.v_weight, "theta"});
    losses.terms.push_back({"x0", casdm::squared_error(batch.x0, estimate.x0), options_.x0_weight, "phi"});
    losses.statistics.push_back({"correction", casdm::squared_error(estimate.x0, estimate.x0_from_eps).detach()});
    return losses;
  }

 private:
  struct Prediction {
    Tensor v;
    casdm::Estimate estimate;
  };

  Prediction predict(const Tensor& x_t, const Tensor& t, const casdm::Condition& for_theta,
                     const casdm::Condition& for_phi) {
    const Tensor seen = schedule_->network_input(x_t, t);
    const Tensor v = theta_(seen, t, for_theta);
    // No gradient of phi's losses gets past this line.
    const Tensor x0 = schedule_->predict_x0_from_v(x_t, t, v.detach());
    const Tensor residual = phi_(at::cat({x0.clamp(-1, 1), seen}, 1), t, for_phi);

    casdm::Estimate estimate;
    estimate.x0_from_eps = x0;
    estimate.x0 = x0 + casdm::per_image(schedule_->sigma(t), x_t) * residual;  // without a gate, only x0' is used
    estimate.eps = schedule_->predict_eps_from_x0(x_t, t, x0);
    return {v, estimate};
  }

  Options options_;
  std::shared_ptr<const casdm::NoiseScheduler> schedule_;
  casdm::HeadNetwork theta_;
  casdm::HeadNetwork phi_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "An example: a head that is none of casdm's own", .licence = "Apache-2.0"});
  plugin.add<X0ResidualHead>("x0_residual",
                             "v prediction, then a correction of the clean image that fades with the noise.");
}
