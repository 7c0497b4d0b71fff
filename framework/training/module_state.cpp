#include "framework/training/module_state.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "casdm/error.h"
#include "casdm/one_pass_optimizer.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"
#include "framework/composition/model.h"
#include "framework/loading/untouched.h"
#include "framework/training/module_optimizer.h"

namespace casdm {

namespace {

/// Moves `values` to `target` by `part` of the way, unless `defect` is a number on the device that is NaN.
void move_towards(const Tensor& values, const Tensor& target, double part, const Tensor& defect) {
  if (!defect.defined()) {
    values.lerp_(target, part);
  } else {
    values.lerp_(target, at::where(defect.isnan(), 0.0, part));
  }
}

/// Named tensors as a module, so that load_state can check them.
class Handles final : public Module {
 public:
  explicit Handles(const NamedTensors& tensors) : tensors_(tensors) {}
  NamedTensors parameters() const override { return tensors_; }

 private:
  const NamedTensors& tensors_;
};

/// Throws PluginError if anything but `old` still uses the memory that the parameters had: it would not be trained. A
/// parameter that was itself made as a view keeps its base there, for no purpose.
void refuse_views(const NamedModule& module, const NamedTensors& parameters, const std::vector<Tensor>& old) {
  const auto memory = [&](std::size_t i) { return old[i].storage().unsafeGetStorageImpl(); };
  std::map<const void*, std::size_t> handles;
  std::set<const void*> with_base;
  for (std::size_t i = 0; i < old.size(); ++i) {
    ++handles[memory(i)];
    if (parameters[i].second.is_view()) with_base.insert(memory(i));
  }
  for (std::size_t i = 0; i < old.size(); ++i) {
    const std::size_t expected = handles[memory(i)] + (with_base.contains(memory(i)) ? 1 : 0);
    if (old[i].numel() == 0 || old[i].storage().use_count() <= expected) continue;
    throw PluginError(
        text(error_prefix(module.config), "something in module ", module.name, " uses the memory of ",
             quoted(parameters[i].first), " apart from the parameter itself, such as a view made in the ",
             "constructor. The host gives parameters other memory, so it would not be trained: make views ",
             "where they are used"));
  }
}

}  // namespace

struct ModuleState::Division {
  World& world;
  MakeOptimizer make_optimizer;
  std::vector<FlatRange> ranges;  ///< by rank
  std::vector<std::string> state_names;
  std::optional<DividedTensors> optimizer, average;
};

ModuleState::ModuleState(NamedModule module, const MakeOptimizer& make_optimizer, const EmaOptions& ema,
                         c10::Device device, World* sharers)
    : module_(std::move(module)), rules_(average_rules(ema)), is_apart_(!device.is_cpu()) {
  at::NoGradGuard no_grad;
  move_to(*module_.module, device);
  const NamedTensors parameters = module_.module->parameters();
  for (const auto& [name, parameter] : parameters) {
    if (parameter.scalar_type() == at::kFloat) continue;
    throw PluginError(text(error_prefix(module_.config), "parameter ", module_.name, ".", name, " is ",
                           at::toString(parameter.scalar_type()), "; parameters must be float32"));
  }
  buffers_ = tensor_forms(module_.module->buffers());
  flat_ = flat_parameters(parameters, device, is_trainable());
  std::vector<Tensor> old;
  for (const auto& [name, parameter] : parameters) old.push_back(parameter.detach());
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    Tensor parameter = parameters[i].second;
    OptimizedParameter& flat = flat_.parameters[i];
    const ParameterRole declared = module_.module->role(flat.name);
    if (declared != ParameterRole::automatic) flat.role = declared;
    flat.weight.copy_(parameter);
    parameter.set_data(flat.weight);
    parameter.requires_grad_(is_trainable());
    if (!is_trainable()) continue;
    if (!is_apart_) parameter.mutable_grad() = flat.gradient;
    parameters_.push_back(parameter);
  }
  refuse_views(module_, parameters, old);
  own_ = flat_;
  if (sharers != nullptr && is_trainable()) {
    const auto shares = shares_of_parameters(flat_, static_cast<std::size_t>(sharers->size()));
    division_ = std::make_shared<Division>(
        Division{*sharers, make_optimizer, {}, state_of_divided(make_optimizer, flat_, name()), {}, {}});
    for (const ParameterRange& share : shares) division_->ranges.push_back(share.flat);
    own_ = parameters_of(flat_, shares[static_cast<std::size_t>(sharers->rank())]);
  }
  for (std::size_t i = 0; i < rules_.size(); ++i) averages_.push_back(own_.weights.clone());
  if (!is_trainable() || (is_divided() && own_.parameters.empty())) return;
  take_optimizer(make_optimizer);
}

void ModuleState::take_optimizer(const MakeOptimizer& make_optimizer) {
  optimizer_ = make_optimizer(own_);
  optimizer_state_ = KeptBuffers<Optimizer>(optimizer_);
  held_ = HeldTensors(own_);
}

void ModuleState::begin_sharing() {
  if (!is_divided()) return;
  std::vector<std::string> names;
  for (const OptimizedParameter& parameter : flat_.parameters) names.push_back(parameter.name);
  for (const auto& [name, buffer] : module_.module->buffers()) names.push_back(name);
  division_->optimizer.emplace(division_->state_names, optimizer_state(), division_->world);
  division_->average.emplace(names, average(), division_->world);
}

void ModuleState::zero_grad() {
  if (!is_trainable()) return;
  if (is_apart_) {
    for (Tensor& parameter : parameters_) parameter.mutable_grad() = Tensor();
  }
  if (!std::exchange(is_zeroed_, false) || has_gradient()) flat_.gradients.zero_();
  zeroed_version_ = flat_.gradients._version();
}

void ModuleState::gather_gradients() {
  if (is_apart_) gather_gradients({0, parameters_.size(), {}});
}

void ModuleState::gather_gradients(const ParameterRange& range) {
  std::vector<Tensor> sums, found;
  for (std::size_t i = range.first; i < range.first + range.count; ++i) {
    Tensor gradient = std::exchange(parameters_[i].mutable_grad(), Tensor());
    if (!is_apart_ || !gradient.defined()) continue;
    const Tensor& sum = sums.emplace_back(flat_.parameters[i].gradient);
    // A single kernel adds lists of tensors only if all strides agree, even those of dimensions of length 1.
    gradient = gradient.contiguous();
    found.push_back(gradient.strides() == sum.strides() ? gradient : gradient.as_strided(sum.sizes(), sum.strides()));
  }
  const at::NoGradGuard no_grad;
  if (!found.empty()) at::_foreach_add_(sums, found);
}

Tensor ModuleState::take_late_gradients(const ParameterRange& range) {
  const at::NoGradGuard no_grad;
  Tensor late;
  for (std::size_t i = range.first; i < range.first + range.count; ++i) {
    const OptimizedParameter& own = flat_.parameters[i];
    const Tensor gradient = std::exchange(parameters_[i].mutable_grad(), is_apart_ ? Tensor() : own.gradient);
    if (!gradient.defined()) continue;
    if (!late.defined()) late = at::zeros_like(flat_.gradients);
    late.narrow(0, own.offset, own.gradient.numel()).view(own.gradient.sizes()).copy_(gradient);
  }
  return late;
}

bool ModuleState::has_gradient() const { return is_trainable() && flat_.gradients._version() != zeroed_version_; }

std::int64_t ModuleState::gradient_changes() const {
  if (!is_trainable()) return 0;
  const auto is_ungathered = [&](const Tensor& parameter) { return is_apart_ && parameter.grad().defined(); };
  return flat_.gradients._version() + std::count_if(parameters_.begin(), parameters_.end(), is_ungathered);
}

std::string ModuleState::untrained_parameter() const {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& parameter = parameters_[i];
    const OptimizedParameter& flat = flat_.parameters[i];
    const char* change = nullptr;
    if (!parameter.requires_grad()) {
      change = "no longer requires a gradient";
    } else if (parameter.const_data_ptr() != flat.weight.const_data_ptr()) {
      change = "has other memory";
    } else if (is_apart_ ? parameter.grad().defined()
                         : !parameter.grad().defined() ||
                               parameter.grad().const_data_ptr() != flat.gradient.const_data_ptr()) {
      change = "has another gradient";
    }
    if (change != nullptr) return text(module_.name, ".", flat.name, " ", change);
  }
  return "";
}

Tensor ModuleState::grad_norm() const {
  return is_trainable() ? flat_.gradients.norm() : at::zeros({}, flat_.weights.options());
}

bool ModuleState::has_finite_weights() const { return flat_.weights.norm().isfinite().item<bool>(); }

void ModuleState::optimizer_step(double learning_rate, const Tensor& scale) {
  if (!is_trainable()) return;
  at::NoGradGuard no_grad;
  at::autocast::clear_cache();  // it holds casts of the old weights
  own_.gradients.mul_(scale);
  if (!optimizer_) return;
  optimizer_.call(&Optimizer::step, OptimizerStep{learning_rate});
  held_.check(optimizer_);
}

void ModuleState::optimizer_step(double learning_rate, const Tensor& scale, const AverageTime& now,
                                 const Tensor& defect) {
  is_one_pass_ = whole_step(learning_rate, scale, now, defect);
  if (!is_one_pass_ && defect.defined()) {
    optimizer_.fail("whole_step() returned false after it had returned true on this device");
  }
  if (!is_one_pass_) {
    optimizer_step(learning_rate, scale);
    update_averages(now, defect);
  }
  if (is_divided()) division_->world.exchange(flat_.weights, division_->ranges);
}

/// False: the optimizer cannot do all in one pass, and nothing has changed.
bool ModuleState::whole_step(double learning_rate, const Tensor& scale, const AverageTime& now, const Tensor& defect) {
  if (!optimizer_) return true;  // the share is empty
  auto* const one_pass = dynamic_cast<OnePassOptimizer*>(optimizer_.object().get());
  if (one_pass == nullptr) return false;
  at::NoGradGuard no_grad;
  at::autocast::clear_cache();
  const std::size_t in_pass = std::min(rules_.size(), OnePassOptimizer::kMostAverages);
  WholeStep whole{learning_rate, defect.defined() ? scale + defect : scale, {}, {}};
  for (std::size_t i = 0; i < in_pass; ++i) whole.averages.push_back({averages_[i], rules_[i].keep(now)});
  const bool writes_shadow = writes_shadow_ && !is_divided() && one_pass->writes_shadow();
  if (writes_shadow) whole.shadow = module_.module->begin_shadow(flat_.weights);
  const Untouched before(is_one_pass_ ? std::vector<Tensor>() : tensors_of_step(), Untouched::Compared::versions);
  if (!optimizer_.call([&](Optimizer&) { return one_pass->whole_step(whole); })) {
    if (before.is_untouched()) return false;
    optimizer_.fail("whole_step() returned false, but has changed weights, gradients, averages or buffers");
  }
  held_.check(optimizer_);
  if (whole.shadow.values.defined()) module_.module->end_shadow();
  for (std::size_t i = in_pass; i < rules_.size(); ++i) move_average(i, now, defect);
  is_zeroed_ = !is_divided();  // otherwise only the gradients of the share are 0
  zeroed_version_ = flat_.gradients._version();
  return true;
}

std::vector<Tensor> ModuleState::tensors_of_step() const {
  std::vector<Tensor> result = averages_;
  result.insert(result.end(), {own_.weights, own_.gradients});
  for (const auto& [name, buffer] : optimizer_state_.tensors()) result.push_back(buffer);
  return result;
}

void ModuleState::share_weights() {
  if (!is_divided()) return;
  division_->world.exchange(flat_.weights, division_->ranges);
  division_->world.finish();
}

void ModuleState::restart_averages() {
  for (const Tensor& average : averages_) average.copy_(own_.weights);
}

void ModuleState::restart_share() {
  restart_averages();
  if (!optimizer_) return;
  take_optimizer(division_->make_optimizer);
}

void ModuleState::update_averages(const AverageTime& now, const Tensor& defect) {
  if (!is_trainable()) return;
  at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < rules_.size(); ++i) move_average(i, now, defect);
}

void ModuleState::move_average(std::size_t index, const AverageTime& now, const Tensor& defect) {
  move_towards(averages_[index], own_.weights, 1 - rules_[index].keep(now), defect);
}

void ModuleState::follow(const ModuleState& source, double decay, const Tensor& defect) {
  at::NoGradGuard no_grad;
  at::autocast::clear_cache();
  move_towards(flat_.weights, source.flat_.weights, 1 - decay, defect);
  restart_averages();
  const NamedTensors buffers = module_.module->buffers();
  const NamedTensors values = source.module_.module->buffers();
  for (std::size_t i = 0; i < buffers.size(); ++i) Tensor(buffers[i].second).copy_(values[i].second);
}

void ModuleState::swap_ema(const Tensor& scratch) {
  at::NoGradGuard no_grad;
  at::autocast::clear_cache();
  for (std::int64_t begin = 0; begin < own_.weights.numel(); begin += scratch.numel()) {
    const std::int64_t count = std::min(scratch.numel(), own_.weights.numel() - begin);
    const Tensor weights = own_.weights.narrow(0, begin, count), average = averages_.front().narrow(0, begin, count);
    const Tensor kept = scratch.narrow(0, 0, count);
    kept.copy_(weights);
    weights.copy_(average);
    average.copy_(kept);
  }
}

NamedTensors ModuleState::weights() const {
  const std::string fault = fault_of_forms(module_.module->buffers(), buffers_);
  if (!fault.empty()) throw PluginError(text(error_prefix(module_.config), "module ", module_.name, ": ", fault));
  return state(*module_.module);
}

NamedTensors ModuleState::average(std::size_t index) const {
  NamedTensors result;
  for (const OptimizedParameter& parameter : own_.parameters) {
    const Tensor& weight = parameter.weight;
    result.emplace_back(parameter.name,
                        averages_[index].narrow(0, parameter.offset, weight.numel()).view(weight.sizes()));
  }
  for (auto& buffer : module_.module->buffers()) result.push_back(std::move(buffer));
  return result;
}

NamedTensors ModuleState::optimizer_state() const { return optimizer_state_.tensors(); }

StatePart ModuleState::average_part(std::size_t index) const {
  return {average(index), is_divided() ? &*division_->average : nullptr};
}

StatePart ModuleState::optimizer_part() const {
  return {optimizer_state(), is_divided() ? &*division_->optimizer : nullptr};
}

void ModuleState::add_divided_bytes(std::vector<std::int64_t>& bytes) const {
  if (!is_divided()) return;
  division_->optimizer->add_bytes(bytes);
  for (std::size_t i = 0; i < rules_.size(); ++i) division_->average->add_bytes(bytes);
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
  return prefixed(modules, [&](const ModuleState& module) { return module.average_part(index).whole(); });
}

}  // namespace casdm
