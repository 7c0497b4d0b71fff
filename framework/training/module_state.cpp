#include "framework/training/module_state.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>

#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/composition/model.h"

namespace casdm {

namespace {

/// Each parameter begins on a cache line.
constexpr std::int64_t kAlignment = 16;

/// Named tensors as a module, for load_state's checks.
class Handles final : public Module {
 public:
  explicit Handles(const NamedTensors& tensors) : tensors_(tensors) {}
  NamedTensors parameters() const override { return tensors_; }

 private:
  const NamedTensors& tensors_;
};

std::int64_t aligned(std::int64_t count) { return (count + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

ModuleState::ModuleState(NamedModule module, const OptimizerOptions& optimizer, const EmaOptions& ema,
                         c10::Device device)
    : module_(std::move(module)), optimizer_(optimizer), rules_(average_rules(ema)) {
  at::NoGradGuard no_grad;
  move_to(*module_.module, device);
  std::int64_t total = 0;
  for (const auto& [name, parameter] : module_.module->parameters()) {
    if (parameter.scalar_type() != at::kFloat) {
      throw PluginError(text("parameter ", module_.name, ".", name, " is ", at::toString(parameter.scalar_type()),
                             "; parameters must be float32"));
    }
    total += aligned(parameter.numel());
  }
  const auto options = at::TensorOptions(device).dtype(at::kFloat);
  weights_ = at::zeros({total}, options);
  gradients_ = is_trainable() ? at::zeros({total}, options) : Tensor();
  const NamedTensors weights = views(weights_);
  const NamedTensors gradients = is_trainable() ? views(gradients_) : NamedTensors();
  const NamedTensors parameters = module_.module->parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    Tensor parameter = parameters[i].second;
    weights[i].second.copy_(parameter);
    parameter.set_data(weights[i].second);
    parameter.requires_grad_(is_trainable());
    if (is_trainable()) parameter.mutable_grad() = gradients[i].second;
  }
  reset();
}

void ModuleState::reset() {
  averages_.clear();
  for (std::size_t i = 0; i < rules_.size(); ++i) averages_.push_back(weights_.clone());
  if (!is_trainable()) return;
  exp_avg_ = at::zeros_like(weights_);
  exp_avg_sq_ = at::zeros_like(weights_);
  adam_step_ = at::zeros({}, weights_.options());
}

NamedTensors ModuleState::views(const Tensor& flat) const {
  NamedTensors result;
  std::int64_t offset = 0;
  for (const auto& [name, parameter] : module_.module->parameters()) {
    result.emplace_back(name, flat.narrow(0, offset, parameter.numel()).view(parameter.sizes()));
    offset += aligned(parameter.numel());
  }
  return result;
}

void ModuleState::zero_grad() {
  if (is_trainable()) gradients_.zero_();
}

Tensor ModuleState::grad_norm() const { return is_trainable() ? gradients_.norm() : at::zeros({}, weights_.options()); }

bool ModuleState::has_finite_weights() const { return weights_.norm().isfinite().item<bool>(); }

void ModuleState::optimizer_step(double learning_rate, const Tensor& scale) {
  if (!is_trainable()) return;
  at::NoGradGuard no_grad;
  at::autocast::clear_cache();  // casts of the weights as they were
  gradients_.mul_(scale);
  adam_step_.add_(1);
  at::_fused_adamw_({weights_}, {gradients_}, {exp_avg_}, {exp_avg_sq_}, {}, {adam_step_}, learning_rate,
                    optimizer_.betas[0], optimizer_.betas[1], optimizer_.weight_decay, optimizer_.eps,
                    /*amsgrad=*/false, /*maximize=*/false);
}

void ModuleState::update_averages(const AverageTime& now) {
  if (!is_trainable()) return;
  at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < rules_.size(); ++i) averages_[i].lerp_(weights_, 1 - rules_[i].keep(now));
}

void ModuleState::follow(const ModuleState& source, double decay) {
  at::NoGradGuard no_grad;
  at::autocast::clear_cache();
  weights_.lerp_(source.weights_, 1 - decay);
  for (const Tensor& average : averages_) average.copy_(weights_);
  const NamedTensors buffers = module_.module->buffers();
  const NamedTensors values = source.module_.module->buffers();
  for (std::size_t i = 0; i < buffers.size(); ++i) Tensor(buffers[i].second).copy_(values[i].second);
}

void ModuleState::swap_ema() {
  at::NoGradGuard no_grad;
  at::autocast::clear_cache();
  const Tensor kept = weights_.clone();
  weights_.copy_(averages_.front());
  averages_.front().copy_(kept);
}

NamedTensors ModuleState::weights() const { return state(*module_.module); }

NamedTensors ModuleState::average(std::size_t index) const {
  NamedTensors result = views(averages_[index]);
  for (auto& buffer : module_.module->buffers()) result.push_back(std::move(buffer));
  return result;
}

NamedTensors ModuleState::moments() const {
  NamedTensors result;
  if (!is_trainable()) return result;
  for (auto& [name, tensor] : views(exp_avg_)) result.emplace_back("exp_avg." + name, tensor);
  for (auto& [name, tensor] : views(exp_avg_sq_)) result.emplace_back("exp_avg_sq." + name, tensor);
  result.emplace_back("step", adam_step_);
  return result;
}

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
