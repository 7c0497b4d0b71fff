#include "optimizers/parameters.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <stdexcept>

#include "framework/training/module_optimizer.h"

namespace casdm::testing {

Optimizer::Spec filled_parameters(const std::vector<Shape>& shapes, c10::Device device) {
  NamedTensors parameters;
  for (const auto& [name, sizes] : shapes) parameters.emplace_back(name, at::empty(sizes));
  Optimizer::Spec spec = flat_parameters(parameters, device);
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

WideAdam::WideAdam(const Tensor& weights, bool is_decoupled)
    : weights(weights.cpu().to(at::kDouble)),
      exp_avg(at::zeros_like(this->weights)),
      exp_avg_sq(exp_avg),
      average(exp_avg),
      is_decoupled(is_decoupled) {}

void WideAdam::step(Tensor gradient, double rate, double weight_decay, double keep) {
  ++count;
  if (is_decoupled) {
    weights = weights * (1 - rate * weight_decay);
  } else {
    gradient = gradient + weight_decay * weights;
  }
  exp_avg = 0.9 * exp_avg + 0.1 * gradient;
  exp_avg_sq = 0.999 * exp_avg_sq + 0.001 * gradient.square();
  const Tensor mean = exp_avg / (1 - std::pow(0.9, count)), square = exp_avg_sq / (1 - std::pow(0.999, count));
  weights = weights - rate * mean / (square.sqrt() + 1e-8);
  average = keep * average + (1 - keep) * weights;
}

double difference(const Tensor& ours, const Tensor& expected) {
  const Tensor wide = expected.to(at::kDouble);
  return ((ours.to(at::kDouble) - wide).abs() / wide.abs().clamp_min(0.1)).max().item<double>();
}

}  // namespace casdm::testing
