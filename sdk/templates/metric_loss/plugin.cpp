#include <ATen/ATen.h>

#include "casdm/metric_loss.h"
#include "casdm/plugin.h"

namespace {

using at::Tensor;

struct TemplateNameOptions {
  double epsilon = 1e-3;

  static void describe(casdm::Schema<TemplateNameOptions>& s) {
    s.option("epsilon", &TemplateNameOptions::epsilon, "Differences well below this count quadratically.")
        .greater_than(0);
  }
};

/// Charbonnier's distance sqrt(d^2 + epsilon^2) - epsilon, averaged over each image.
class TemplateNameLoss : public casdm::MetricLoss {
 public:
  using Options = TemplateNameOptions;

  TemplateNameLoss(const Options& options, const Spec&) : options_(options) {}

  // The defaults: values from 0 up, symmetric, zero at identity, any size, any number of channels.
  casdm::MetricInfo info() const override { return {}; }

  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    const double epsilon = options_.epsilon;
    const Tensor difference = prediction - target[0];
    return ((difference.square() + epsilon * epsilon).sqrt() - epsilon).flatten(1).mean(1);
  }

 private:
  TemplateNameOptions options_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A metric of my own", .licence = "Apache-2.0"});
  plugin.add<TemplateNameLoss>("template_name", "Charbonnier's distance.");
}
