#include "sgd.h"

#include <ATen/ATen.h>

#include "casdm/error.h"

namespace casdm::optimizer_standard {

void SgdOptions::describe(Schema<SgdOptions>& s) {
  s.option("momentum", &SgdOptions::momentum, "How much of the last step's direction is kept; 0: none.")
      .at_least(0)
      .less_than(1);
  s.option("nesterov", &SgdOptions::nesterov, "Step to where the momentum will lead (Sutskever et al. 2013).")
      .not_with("momentum", {0})
      .only_with("dampening", {0});
  s.option("dampening", &SgdOptions::dampening, "The momentum takes 1 - dampening of the gradient.").range(0, 1);
  s.option("weight_decay", &SgdOptions::weight_decay, "Times the weights, added to their gradient (L2 penalty).")
      .at_least(0);
}

Sgd::Sgd(const SgdOptions& options, const Spec& spec) : options_(options), spec_(spec) {
  if (options.nesterov && (options.momentum == 0 || options.dampening != 0)) {
    throw ConfigError("nesterov needs momentum above 0 and dampening 0");
  }
  if (options.momentum == 0) return;
  momentum_ = at::zeros_like(spec.weights);
  steps_ = at::zeros({}, at::kLong);
}

Tensor Sgd::with_momentum(const Tensor& gradient) {
  if (!momentum_.defined()) return gradient;
  const bool is_first = steps_.item<std::int64_t>() == 0;
  steps_.add_(1);
  if (is_first) {
    momentum_.copy_(gradient);
  } else {
    momentum_.mul_(options_.momentum).add_(gradient, 1 - options_.dampening);
  }
  return options_.nesterov ? gradient.add_(momentum_, options_.momentum) : momentum_;
}

void Sgd::step(const OptimizerStep& step) {
  if (options_.weight_decay > 0) spec_.gradients.add_(spec_.weights, options_.weight_decay);
  spec_.weights.sub_(with_momentum(spec_.gradients), step.learning_rate);
}

NamedTensors Sgd::buffers() const {
  if (!momentum_.defined()) return {};
  NamedTensors result = named_views(spec_, momentum_, "momentum");
  result.emplace_back("step", steps_);
  return result;
}

}  // namespace casdm::optimizer_standard
