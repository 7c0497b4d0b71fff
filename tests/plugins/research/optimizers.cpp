#include <ATen/ATen.h>

#include "casdm/optimizer.h"
#include "research.h"

namespace casdm::research {

namespace {

/// Gradient descent that is drawn back to the weights it began with, as methods against forgetting are.
class Anchored final : public Optimizer {
 public:
  using Options = NoOptions;

  Anchored(const Options&, const Spec& spec) : spec_(spec), start_(spec.weights.clone()) {}
  NamedTensors buffers() const override {
    NamedTensors result;
    for (const OptimizedParameter& parameter : spec_.parameters) {
      const Tensor own = start_.narrow(0, parameter.offset, parameter.weight.numel());
      result.emplace_back("start." + parameter.name, own.view(parameter.weight.sizes()));
    }
    return result;
  }
  void step(const OptimizerStep& step) override {
    spec_.weights.sub_(spec_.gradients + 0.1 * (spec_.weights - start_), step.learning_rate);
  }

 private:
  Spec spec_;
  Tensor start_;
};

}  // namespace

void add_optimizers(PluginRegistrar& plugin) {
  plugin.add<Anchored>("anchored", "Gradient descent that is drawn back to its first weights.");
}

}  // namespace casdm::research
