#include <ATen/core/Tensor.h>

#include "casdm/head_network.h"
#include "casdm/plugin.h"

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

  TemplateNameHead(const Options& options, const Spec& spec)
      : schedule_(spec.schedule), theta_("theta", options.theta, spec, spec.image.channels, spec.image.channels) {}

  std::vector<casdm::NamedModule> modules() const override { return {theta_.module()}; }

  casdm::Estimate estimate(const casdm::EstimateInput& input) override {
    return predict(input.x_t, input.t, input.condition);
  }

  casdm::Losses losses(const casdm::TrainingBatch& batch, const casdm::MetricTerms& metrics) override {
    const casdm::Estimate estimate = predict(batch.x_t, batch.t, batch.condition_for("theta"));
    casdm::Losses losses;
    losses.terms = metrics.evaluate(estimate.x0, batch, "theta");
    losses.terms.push_back({"x0", casdm::squared_error(batch.x0, estimate.x0), 1.0, "theta"});
    return losses;
  }

 private:
  /// No gate is needed, since both clean images are the same.
  casdm::Estimate predict(const Tensor& x_t, const Tensor& t, const casdm::Condition& condition) {
    casdm::Estimate estimate;
    estimate.x0 = theta_(schedule_->network_input(x_t, t), t, condition);
    estimate.x0_from_eps = estimate.x0;
    estimate.eps = schedule_->predict_eps_from_x0(x_t, t, estimate.x0);
    return estimate;
  }

  std::shared_ptr<const casdm::NoiseScheduler> schedule_;
  casdm::HeadNetwork theta_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A head of my own", .licence = "Apache-2.0"});
  plugin.add<TemplateNameHead>("template_name", "One network that predicts the clean image.");
}
