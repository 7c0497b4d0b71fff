#include "framework/training/module_optimizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "casdm/one_pass_optimizer.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/config/key_path.h"

namespace casdm {

namespace {

constexpr std::int64_t kAlignment = 16;     // elements per cache line
constexpr std::int64_t kStandInLength = 4;  // longest dimension of a stand-in
constexpr std::size_t kMostParametersNamed = 5;

std::int64_t aligned(std::int64_t count) { return (count + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

Optimizer::Spec flat_parameters(const NamedTensors& parameters, c10::Device device, bool is_trained) {
  std::int64_t total = 0;
  for (const auto& [name, parameter] : parameters) total += aligned(parameter.numel());
  const auto options = at::TensorOptions(device).dtype(at::kFloat);
  Optimizer::Spec spec{{}, at::zeros({total}, options), is_trained ? at::zeros({total}, options) : Tensor()};
  std::int64_t offset = 0;
  for (const auto& [name, parameter] : parameters) {
    const auto view = [&, shape = parameter.sizes()](const Tensor& flat) {
      return flat.defined() ? flat.narrow(0, offset, c10::multiply_integers(shape)).view(shape) : flat;
    };
    spec.parameters.push_back(
        {name, role_by_shape(name, parameter.sizes()), offset, view(spec.weights), view(spec.gradients)});
    offset += aligned(parameter.numel());
  }
  return spec;
}

void check_module_names(const OptimizerOptions& options, const std::vector<NamedModule>& modules) {
  std::vector<std::string> names;
  for (const NamedModule& module : modules) names.push_back(module.name);
  for (const std::string& name : options.modules()) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    fail_at(options.component.table.find(name)->location(),
            text("the head has no module ", quoted(name), "; it has ", join(names, ", ")));
  }
}

Optimizer::Spec small_stand_ins(const Optimizer::Spec& spec) {
  NamedTensors small;
  for (const OptimizedParameter& parameter : spec.parameters) {
    std::vector<std::int64_t> shape = parameter.weight.sizes().vec();
    for (std::int64_t& length : shape) length = std::min(length, kStandInLength);
    small.emplace_back(parameter.name, at::empty(shape));
  }
  Optimizer::Spec result = flat_parameters(small, c10::Device(c10::kCPU));
  at::Generator generator = make_generator(derive_seed(0, "optimizer stand-ins"));
  for (std::size_t i = 0; i < result.parameters.size(); ++i) {
    OptimizedParameter& parameter = result.parameters[i];
    parameter.role = spec.parameters[i].role;
    parameter.weight.normal_(0, 1, generator);
    parameter.gradient.normal_(0, 1, generator);
  }
  return result;
}

std::vector<std::string> left_as_they_are(const Component<Optimizer>& optimizer, const Optimizer::Spec& spec) {
  const at::NoGradGuard no_grad;
  const Tensor before = spec.weights.clone();
  const HeldTensors held(spec);
  optimizer.call(&Optimizer::step, OptimizerStep{1.0});
  held.check(optimizer);
  std::vector<std::string> names;
  for (const OptimizedParameter& parameter : spec.parameters) {
    const std::int64_t count = parameter.weight.numel();
    const auto part = [&](const Tensor& flat) { return flat.narrow(0, parameter.offset, count); };
    if (count > 0 && at::equal(part(before), part(spec.weights))) names.push_back(parameter.name);
  }
  return names;
}

HeldTensors::HeldTensors(const Optimizer::Spec& spec) {
  const auto add = [this](const std::string& name, const Tensor& tensor) {
    if (tensor.defined()) tensors_.push_back({name, tensor, tensor.const_data_ptr(), tensor.sizes().vec()});
  };
  add("weights", spec.weights);
  add("gradients", spec.gradients);
  for (const OptimizedParameter& parameter : spec.parameters) {
    add("weight of " + parameter.name, parameter.weight);
    add("gradient of " + parameter.name, parameter.gradient);
  }
}

void HeldTensors::check(const Component<Optimizer>& optimizer) const {
  for (const Held& held : tensors_) {
    const bool is_same = held.tensor.const_data_ptr() == held.memory && held.tensor.sizes() == held.sizes;
    if (is_same) continue;
    optimizer.fail(text("a step gives its tensor \"", held.name, "\" other memory or another shape, so that it would ",
                        "train nothing; change the values of the tensors in place, as by copy_() or sub_()"));
  }
}

namespace {

/// Of the step that training takes where the optimizer has one; `spec` belongs to `optimizer` alone.
void try_whole_step(const Component<Optimizer>& optimizer, const Optimizer::Spec& spec, const std::string& module) {
  auto* const one_pass = dynamic_cast<OnePassOptimizer*>(optimizer.object().get());
  if (one_pass == nullptr) return;
  const at::NoGradGuard no_grad;
  const Tensor before = spec.weights.clone(), average = spec.weights.clone();
  const WholeStep step{1.0, at::ones({}), {{average, 0.5}}, {}};
  if (!optimizer.call([&](Optimizer&) { return one_pass->whole_step(step); })) return;
  for (const OptimizedParameter& parameter : spec.parameters) {
    const auto part = [&](const Tensor& flat) { return flat.narrow(0, parameter.offset, parameter.weight.numel()); };
    if (parameter.weight.numel() == 0) continue;
    const char* fault = at::equal(part(before), part(spec.weights)) ? "the weights"
                        : !at::allclose(part(average), (part(before) + part(spec.weights)) / 2, 1e-3, 1e-4)
                            ? "the averages"
                            : nullptr;
    if (fault == nullptr && !part(spec.gradients).any().item<bool>()) continue;
    optimizer.fail(text("whole_step() does not ", fault != nullptr ? "move " : "set ",
                        fault != nullptr ? fault : "the gradients", " of ", module, '.', parameter.name,
                        fault != nullptr ? "" : " to 0", ", as WholeStep asks"));
  }
}

}  // namespace

Component<Optimizer> make_optimizer(const PluginHost& host, const OptimizerOptions& options, const std::string& module,
                                    const Optimizer::Spec& spec) {
  const Optimizer::Spec small = small_stand_ins(spec);
  const auto trial = host.create<Optimizer>(options.component, small);
  std::vector<std::string> names = left_as_they_are(trial, small);
  if (!names.empty()) {
    const std::size_t count = names.size();
    names.resize(std::min(count, kMostParametersNamed));
    trial.fail(text("a step leaves ", count, " of the ", spec.parameters.size(), " parameters of module ", module,
                    " as they are: ", join(names, ", "), count > kMostParametersNamed ? ", ..." : "",
                    ". An optimizer changes every parameter; what is not to be trained is frozen by [[init]]"));
  }
  const Optimizer::Spec apart = small_stand_ins(spec);
  try_whole_step(host.create<Optimizer>(options.component, apart), apart, module);
  return host.create<Optimizer>(options.component, spec);
}

}  // namespace casdm
