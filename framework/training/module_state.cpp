#include "framework/training/module_state.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>

#include "casdm/error.h"
#include "casdm/one_pass_optimizer.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/composition/model.h"
#include "framework/training/module_optimizer.h"

namespace casdm {

namespace {

/// Named tensors as a module, so that load_state can check them.
class Handles final : public Module {
 public:
  explicit Handles(const NamedTensors& tensors) : tensors_(tensors) {}
  NamedTensors parameters() const override { return tensors_; }

 private:
  const NamedTensors& tensors_;
};

}  // namespace

ModuleState::ModuleState(NamedModule module, const MakeOptimizer& make_optimizer, const EmaOptions& ema,
                         c10::Device device)
    : module_(std::move(module)), rules_(average_rules(ema)) {
  at::NoGradGuard no_grad;
  move_to(*module_.module, device);
  const NamedTensors parameters = module_.module->parameters();
  for (const auto& [name, parameter] : parameters) {
    if (parameter.scalar_type() == at::kFloat) continue;
    throw PluginError(text(error_prefix(module_.config), "parameter ", module_.name, ".", name, " is ",
                           at::toString(parameter.scalar_type()), "; parameters must be float32"));
  }
  flat_ = flat_parameters(parameters, device, is_trainable());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    Tensor parameter = parameters[i].second;
    OptimizedParameter& flat = flat_.parameters[i];
    const ParameterRole declared = module_.module->role(flat.name);
    if (declared != ParameterRole::automatic) flat.role = declared;
    flat.weight.copy_(parameter);
    parameter.set_data(flat.weight);
    parameter.requires_grad_(is_trainable());
    if (!is_trainable()) continue;
    if (device.is_cpu()) {
      parameter.mutable_grad() = flat.gradient;
    } else {
      apart_.push_back(parameter);
    }
  }
  for (std::size_t i = 0; i < rules_.size(); ++i) averages_.push_back(flat_.weights.clone());
  if (!is_trainable()) return;
  optimizer_ = make_optimizer(flat_);
  optimizer_state_ = KeptBuffers<Optimizer>(optimizer_);
}

void ModuleState::zero_grad() {
  if (!is_trainable()) return;
  for (Tensor& parameter : apart_) parameter.mutable_grad() = Tensor();
  if (!std::exchange(is_zeroed_, false) || has_gradient()) flat_.gradients.zero_();
  zeroed_version_ = flat_.gradients._version();
}

void ModuleState::gather_gradients() {
  std::vector<Tensor> sums, found;
  for (std::size_t i = 0; i < apart_.size(); ++i) {
    Tensor gradient = std::exchange(apart_[i].mutable_grad(), Tensor());
    if (!gradient.defined()) continue;
    const Tensor& sum = sums.emplace_back(flat_.parameters[i].gradient);
    // A single kernel adds lists of tensors only if all strides agree, even those of dimensions of length 1.
    gradient = gradient.contiguous();
    found.push_back(gradient.strides() == sum.strides() ? gradient : gradient.as_strided(sum.sizes(), sum.strides()));
  }
  const at::NoGradGuard no_grad;
  if (!found.empty()) at::_foreach_add_(sums, found);
}

bool ModuleState::has_gradient() const { return is_trainable() && flat_.gradients._version() != zeroed_version_; }

Tensor ModuleState::grad_norm() const {
  return is_trainable() ? flat_.gradients.norm() : at::zeros({}, flat_.weights.options());
}

bool ModuleState::has_finite_weights() const { return flat_.weights.norm().isfinite().item<bool>(); }

void ModuleState::optimizer_step(double learning_rate, const Tensor& scale) {
  if (!is_trainable()) return;
  at::NoGradGuard no_grad;
  at::autocast::clear_cache();  // it holds casts of the old weights
  flat_.gradients.mul_(scale);
  optimizer_.call(&Optimizer::step, OptimizerStep{learning_rate});
}

void ModuleState::optimizer_step(double learning_rate, const Tensor& scale, const AverageTime& now) {
  auto* const one_pass = dynamic_cast<OnePassOptimizer*>(optimizer_.object().get());
  if (one_pass != nullptr) {
    at::NoGradGuard no_grad;
    at::autocast::clear_cache();
    const std::size_t in_pass = std::min(rules_.size(), OnePassOptimizer::kMostAverages);
    WholeStep whole{learning_rate, scale, {}};
    for (std::size_t i = 0; i < in_pass; ++i) whole.averages.push_back({averages_[i], rules_[i].keep(now)});
    is_zeroed_ = optimizer_.call([&](Optimizer&) { return one_pass->whole_step(whole); });
    for (std::size_t i = in_pass; is_zeroed_ && i < rules_.size(); ++i) {
      averages_[i].lerp_(flat_.weights, 1 - rules_[i].keep(now));
    }
  }
  if (!is_zeroed_) {
    optimizer_step(learning_rate, scale);
    return update_averages(now);
  }
  zeroed_version_ = flat_.gradients._version();
}

void ModuleState::update_averages(const AverageTime& now) {
  if (!is_trainable()) return;
  at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < rules_.size(); ++i) averages_[i].lerp_(flat_.weights, 1 - rules_[i].keep(now));
}

void ModuleState::follow(const ModuleState& source, double decay) {
  at::NoGradGuard no_grad;
  at::autocast::clear_cache();
  flat_.weights.lerp_(source.flat_.weights, 1 - decay);
  for (const Tensor& average : averages_) average.copy_(flat_.weights);
  const NamedTensors buffers = module_.module->buffers();
  const NamedTensors values = source.module_.module->buffers();
  for (std::size_t i = 0; i < buffers.size(); ++i) Tensor(buffers[i].second).copy_(values[i].second);
}

void ModuleState::swap_ema() {
  at::NoGradGuard no_grad;
  at::autocast::clear_cache();
  const Tensor kept = flat_.weights.clone();
  flat_.weights.copy_(averages_.front());
  averages_.front().copy_(kept);
}

NamedTensors ModuleState::weights() const { return state(*module_.module); }

NamedTensors ModuleState::average(std::size_t index) const {
  NamedTensors result;
  for (const OptimizedParameter& parameter : flat_.parameters) {
    const Tensor& weight = parameter.weight;
    result.emplace_back(parameter.name,
                        averages_[index].narrow(0, parameter.offset, weight.numel()).view(weight.sizes()));
  }
  for (auto& buffer : module_.module->buffers()) result.push_back(std::move(buffer));
  return result;
}

NamedTensors ModuleState::optimizer_state() const { return optimizer_state_.tensors(); }

NamedTensors prefixed(const std::vector<ModuleState>& modules,
                      const std::function<NamedTensors(const ModuleState&)>& part) {
  NamedTensors all;
  for (const ModuleState& module : modules) {
    for (auto& [name, tensor] : part(module)) all.emplace_back(module.name() + "." + name, tensor);
  }
  return all;
}

NamedTensors part_of(const NamedTensors& all, const std::string& module) {
  NamedTensors result;
  for (const auto& [name, tensor] : all) {
    if (name.starts_with(module + ".")) result.emplace_back(name.substr(module.size() + 1), tensor);
  }
  return result;
}

void copy_into(const NamedTensors& handles, const NamedTensors& values, std::string_view source) {
  load_state(Handles(handles), values, source);
}

NamedTensors average_of(const std::vector<ModuleState>& modules, std::size_t index) {
  return prefixed(modules, [&](const ModuleState& module) { return module.average(index); });
}

}  // namespace casdm
