#include "optimizers/parameters.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <stdexcept>

#include "framework/training/module_optimizer.h"

namespace casdm::testing {

Optimizer::Spec filled_parameters(const std::vector<Shape>& shapes) {
  NamedTensors parameters;
  for (const auto& [name, sizes] : shapes) parameters.emplace_back(name, at::empty(sizes));
  Optimizer::Spec spec = flat_parameters(parameters, c10::Device(c10::kCPU));
  for (std::size_t k = 0; k < shapes.size(); ++k) spec.parameters[k].weight.copy_(fill(k + 1, shapes[k].sizes));
  return spec;
}

void fill_gradients(const Optimizer::Spec& spec, int step) {
  for (std::size_t k = 0; k < spec.parameters.size(); ++k) {
    const Tensor& gradient = spec.parameters[k].gradient;
    gradient.copy_(fill(static_cast<std::uint64_t>(1000 + 10 * step) + k, gradient.sizes()));
  }
}

const Tensor& weight(const Optimizer::Spec& spec, const std::string& name) {
  for (const OptimizedParameter& parameter : spec.parameters) {
    if (parameter.name == name) return parameter.weight;
  }
  throw std::runtime_error("no parameter " + name);
}

void take_steps(Optimizer& optimizer, const Optimizer::Spec& spec, int steps, double learning_rate) {
  const at::NoGradGuard no_grad;
  for (int step = 0; step < steps; ++step) {
    fill_gradients(spec, step);
    optimizer.step({learning_rate});
  }
}

}  // namespace casdm::testing
