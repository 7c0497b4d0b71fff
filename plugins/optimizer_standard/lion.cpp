#include "lion.h"

#include <ATen/ATen.h>

namespace casdm::optimizer_standard {

void LionOptions::describe(Schema<LionOptions>& s) {
  s.option("betas", &LionOptions::betas, "Parts of the momentum in the step's direction, and kept in the momentum.")
      .at_least(0)
      .less_than(1);
  s.option("weight_decay", &LionOptions::weight_decay, "Decoupled weight decay.").at_least(0);
}

Lion::Lion(const LionOptions& options, const Spec& spec)
    : options_(options), spec_(spec), exp_avg_(at::zeros_like(spec.weights)) {}

void Lion::step(const OptimizerStep& step) {
  const Tensor direction = exp_avg_.lerp(spec_.gradients, 1 - options_.betas[0]).sign_();
  spec_.weights.mul_(1 - step.learning_rate * options_.weight_decay).sub_(direction, step.learning_rate);
  exp_avg_.lerp_(spec_.gradients, 1 - options_.betas[1]);
}

}  // namespace casdm::optimizer_standard
