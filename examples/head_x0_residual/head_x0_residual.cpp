#include <ATen/ATen.h>

#include <cmath>

#include "casdm/cascade_head.h"
#include "casdm/plugin.h"
#include "casdm/random.h"

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
/// by an amount that fades with the noise, as x_t itself becomes the answer:
///
///     v'  = theta(x_t, t)                  x0* = sqrt(A_t) x_t - sqrt(1-A_t) v'
///     x0' = x0* + sqrt(1-A_t) phi([sg(x0*), x_t], t)
///
/// The v loss trains theta; the x0 loss and all metrics act on x0' and train phi.
class X0ResidualHead : public casdm::CascadeHead {
 public:
  using Options = X0ResidualOptions;

  X0ResidualHead(const Options& options, const Spec& spec)
      : options_(options),
        schedule_(spec.schedule),
        theta_(network("theta", options.theta, spec, spec.channels)),
        phi_(network("phi", options.phi, spec, 2 * spec.channels)) {
    for (const double a : schedule_->alphas_cumprod()) noise_.push_back(std::sqrt(1 - a));
  }

  std::vector<casdm::NamedModule> modules() const override { return {{"theta", theta_}, {"phi", phi_}}; }

  casdm::Estimate estimate(const Tensor& x_t, const Tensor& t, const Tensor& labels) override {
    return predict(x_t, t, {labels, {}}, {labels, {}}).estimate;
  }

  casdm::Losses losses(const casdm::TrainingBatch& batch, const casdm::MetricTerms& metrics) override {
    const auto [v, estimate] = predict(batch.x_t, batch.t, batch.condition("theta"), batch.condition("phi"));
    const Tensor true_v = schedule_->velocity(batch.x0, batch.t, batch.eps);
    casdm::Losses losses;
    losses.terms = metrics.evaluate(estimate.x0, batch, "phi");
    losses.terms.push_back({"v", squared_error(true_v, v), options_.v_weight, "theta"});
    losses.terms.push_back({"x0", squared_error(batch.x0, estimate.x0), options_.x0_weight, "phi"});
    losses.statistics.push_back({"correction", squared_error(estimate.x0, estimate.x0_from_eps).detach()});
    return losses;
  }

 private:
  struct Prediction {
    Tensor v;
    casdm::Estimate estimate;
  };

  static std::shared_ptr<casdm::Backbone> network(const std::string& name, const casdm::ComponentConfig& config,
                                                  const Spec& head, std::int64_t in_channels) {
    casdm::Backbone::Spec spec;
    spec.in_channels = in_channels;
    spec.out_channels = head.channels;
    spec.image_size = head.image_size;
    spec.num_classes = head.num_classes;
    spec.augment_size = head.augment_size;
    spec.seed = casdm::derive_seed(head.seed, name);
    return head.factory->make<casdm::Backbone>(config, spec);
  }

  static Tensor squared_error(const Tensor& a, const Tensor& b) { return (a - b).square().flatten(1).mean(1); }

  // Under autocast a network may answer in bf16; the diffusion's own algebra stays in the precision of x_t.
  Prediction predict(const Tensor& x_t, const Tensor& t, const casdm::Condition& for_theta,
                     const casdm::Condition& for_phi) {
    const Tensor time = t.to(x_t.scalar_type());
    const Tensor v = theta_->forward(x_t, time, for_theta).to(x_t.scalar_type());
    // Nothing that phi is trained with gets past this line.
    const Tensor x0 = schedule_->predict_x0_from_v(x_t, t, v.detach());
    const Tensor residual = phi_->forward(at::cat({x0.clamp(-1, 1), x_t}, 1), time, for_phi).to(x_t.scalar_type());

    casdm::Estimate estimate;
    estimate.x0_from_eps = x0;
    estimate.x0 = x0 + casdm::NoiseScheduler::gather(noise_, t, x_t) * residual;  // without a gate, x0' alone counts
    estimate.eps = schedule_->predict_eps_from_x0(x_t, t, x0);
    return {v, estimate};
  }

  Options options_;
  std::shared_ptr<const casdm::NoiseScheduler> schedule_;
  std::shared_ptr<casdm::Backbone> theta_;
  std::shared_ptr<casdm::Backbone> phi_;
  std::vector<double> noise_;  ///< sqrt(1-A_t)
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "An example: a head that is none of casdm's own", .licence = "Apache-2.0"});
  plugin.add<X0ResidualHead>("x0_residual",
                             "v prediction, then a correction of the clean image that fades with the noise.");
}
