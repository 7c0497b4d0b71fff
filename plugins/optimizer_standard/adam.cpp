#include "adam.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "adam_pass.h"
#include "casdm/block_kernel.h"

namespace casdm::optimizer_standard {

namespace {

template <class T>
void describe_adam(Schema<T>& s, const char* weight_decay) {
  s.template option<std::array<double, 2>>("betas", &T::betas, "Decay rates of Adam's two moments.")
      .at_least(0)
      .less_than(1);
  s.template option<double>("eps", &T::eps, "Adam's term for numerical stability.").greater_than(0);
  s.template option<double>("weight_decay", &T::weight_decay, weight_decay).at_least(0);
}

std::vector<Tensor> zeros_like(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> result;
  for (const Tensor& tensor : tensors) result.push_back(at::zeros_like(tensor));
  return result;
}

}  // namespace

void AdamWOptions::describe(Schema<AdamWOptions>& s) { describe_adam(s, "Decoupled weight decay (AdamW)."); }

void AdamOptions::describe(Schema<AdamOptions>& s) {
  describe_adam(s, "Times the weights, added to their gradient (L2 penalty).");
}

AdamMoments::AdamMoments(std::vector<Tensor> weights, std::vector<Tensor> gradients, Decay decay)
    : weights_(std::move(weights)),
      gradients_(std::move(gradients)),
      exp_avg_(zeros_like(weights_)),
      exp_avg_sq_(zeros_like(weights_)),
      decay_(decay) {
  const auto options = weights_.empty() ? at::TensorOptions(at::kFloat) : weights_.front().options();
  counts_.assign(std::max<std::size_t>(weights_.size(), 1), at::zeros({}, options));
}

void AdamMoments::step(const AdamWOptions& options, double learning_rate) {
  if (weights_.empty()) return;
  counts_.front().add_(1);
  const auto step = [&](auto fused) {
    fused(weights_, gradients_, exp_avg_, exp_avg_sq_, at::TensorList(), counts_, learning_rate, options.betas[0],
          options.betas[1], options.weight_decay, options.eps, /*amsgrad=*/false, /*maximize=*/false);
  };
  if (decay_ == Decay::decoupled) {
    step([](auto&&... arguments) { at::_fused_adamw_(arguments...); });
  } else {
    step([](auto&&... arguments) { at::_fused_adam_(arguments...); });
  }
}

bool AdamMoments::whole_step(const AdamWOptions& options, const WholeStep& step) {
  if (!has_adam_pass(weights_.front().device())) return false;
  counts_.front().add_(step.scale.eq(step.scale));  // NaN: the step is not taken
  adam_pass({weights_.front(), gradients_.front(), exp_avg_.front(), exp_avg_sq_.front(), counts_.front()}, options,
            decay_, step);
  return true;
}

FlatAdam::FlatAdam(const AdamWOptions& options, const Spec& spec, AdamMoments::Decay decay)
    : options_(options), spec_(spec), moments_({spec.weights}, {spec.gradients}, decay) {}

bool FlatAdam::writes_shadow() const { return takes_block_kernels(spec_.weights.device()); }

NamedTensors FlatAdam::buffers() const {
  NamedTensors result = named_views(spec_, moments_.exp_avg().front(), "exp_avg");
  for (auto& view : named_views(spec_, moments_.exp_avg_sq().front(), "exp_avg_sq")) result.push_back(std::move(view));
  result.emplace_back("step", moments_.count());
  return result;
}

}  // namespace casdm::optimizer_standard
