#include <ATen/ATen.h>

#include "casdm/optimizer.h"
#include "casdm/plugin.h"

namespace {

struct TemplateNameOptions {
  double momentum = 0.9;
  double weight_decay = 0;

  static void describe(casdm::Schema<TemplateNameOptions>& s) {
    s.option("momentum", &TemplateNameOptions::momentum, "How much of the momentum is kept at a step.")
        .at_least(0)
        .less_than(1);
    s.option("weight_decay", &TemplateNameOptions::weight_decay, "Decoupled weight decay of matrices and kernels.")
        .at_least(0);
  }
};

/// m <- momentum m + (1 - momentum) g; each parameter moves along m / rms(m), so that all parameters move at the same
/// speed.
class TemplateNameOptimizer : public casdm::Optimizer {
 public:
  using Options = TemplateNameOptions;

  TemplateNameOptimizer(const Options& options, const Spec& spec)
      : options_(options), spec_(spec), momentum_(at::zeros_like(spec.weights)) {}

  void step(const casdm::OptimizerStep& step) override {
    // Element-wise, so one operation is enough for the whole module.
    momentum_.lerp_(spec_.gradients, 1 - options_.momentum);
    for (const casdm::OptimizedParameter& parameter : spec_.parameters) {
      const casdm::Tensor& weight = parameter.weight;
      const casdm::Tensor momentum = momentum_.narrow(0, parameter.offset, weight.numel()).view(weight.sizes());
      if (weight.dim() >= 2) weight.mul_(1 - step.learning_rate * options_.weight_decay);
      const casdm::Tensor rms = momentum.square().mean().sqrt();  // stays on the device: no item()
      weight.sub_(momentum / rms.clamp_min(1e-12), step.learning_rate);
    }
  }

  /// The state between steps; the host saves it in checkpoints.
  casdm::NamedTensors buffers() const override { return casdm::named_views(spec_, momentum_, "momentum"); }

 private:
  Options options_;
  Spec spec_;
  casdm::Tensor momentum_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "An optimizer of my own", .licence = "Apache-2.0"});
  plugin.add<TemplateNameOptimizer>("template_name", "Momentum with steps of one size for every parameter.");
}
