#include <ATen/ATen.h>

#include "casdm/cascade_head.h"
#include "casdm/plugin.h"
#include "casdm/random.h"

namespace {

using at::Tensor;

struct TemplateNameOptions {
  casdm::ComponentConfig theta;

  static void describe(casdm::Schema<TemplateNameOptions>& s) {
    s.component("theta", &TemplateNameOptions::theta, casdm::Backbone::kind, "Predicts the clean image.").required();
  }
};

/// One network theta that predicts the clean image; metrics act on its prediction.
class TemplateNameHead : public casdm::CascadeHead {
 public:
  using Options = TemplateNameOptions;

  TemplateNameHead(const Options& options, const Spec& spec) : schedule_(spec.schedule) {
    casdm::Backbone::Spec network;
    network.in_channels = spec.channels;
    network.out_channels = spec.channels;
    network.image_size = spec.image_size;
    network.num_classes = spec.num_classes;
    network.augment_size = spec.augment_size;
    network.seed = casdm::derive_seed(spec.seed, "theta");
    theta_ = spec.factory->make<casdm::Backbone>(options.theta, network);
  }

  std::vector<casdm::NamedModule> modules() const override { return {{"theta", theta_}}; }

  casdm::Estimate estimate(const Tensor& x_t, const Tensor& t, const Tensor& labels) override {
    return predict(x_t, t, {labels, {}});
  }

  casdm::Losses losses(const casdm::TrainingBatch& batch, const casdm::MetricTerms& metrics) override {
    const casdm::Estimate estimate = predict(batch.x_t, batch.t, batch.condition("theta"));
    casdm::Losses losses;
    losses.terms = metrics.evaluate(estimate.x0, batch, "theta");
    losses.terms.push_back({"x0", (batch.x0 - estimate.x0).square().flatten(1).mean(1), 1.0, "theta"});
    return losses;
  }

 private:
  /// A gate is not needed: both clean images are the same. Under autocast the network may answer in bf16, the
  /// diffusion's own algebra stays in the precision of x_t.
  casdm::Estimate predict(const Tensor& x_t, const Tensor& t, const casdm::Condition& condition) {
    casdm::Estimate estimate;
    estimate.x0 = theta_->forward(x_t, t.to(x_t.scalar_type()), condition).to(x_t.scalar_type());
    estimate.x0_from_eps = estimate.x0;
    estimate.eps = schedule_->predict_eps_from_x0(x_t, t, estimate.x0);
    return estimate;
  }

  std::shared_ptr<const casdm::NoiseScheduler> schedule_;
  std::shared_ptr<casdm::Backbone> theta_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A head of my own", .licence = "Apache-2.0"});
  plugin.add<TemplateNameHead>("template_name", "One network that predicts the clean image.");
}
