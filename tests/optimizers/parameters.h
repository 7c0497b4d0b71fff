#pragma once

#include <functional>
#include <string>
#include <vector>

#include "casdm/optimizer.h"
#include "support/components.h"

/// Shared by the tests of optimizers.
namespace casdm::testing {

struct Shape {
  std::string name;
  std::vector<std::int64_t> sizes;
};

/// Parameters of these shapes in flat tensors as the host makes them, filled with fill(k, shape), k from 1.
Optimizer::Spec filled_parameters(const std::vector<Shape>& shapes, c10::Device device = c10::Device(c10::kCPU));

/// The gradients of step number `step`, from 0: fill(1000 + 10 step + k, shape), k from 0.
void fill_gradients(const Optimizer::Spec& spec, int step);

const Tensor& weight(const Optimizer::Spec& spec, const std::string& name);

/// Takes `steps` steps at one learning rate, with those gradients.
void take_steps(Optimizer& optimizer, const Optimizer::Spec& spec, int steps, double learning_rate);

/// Adam or AdamW in float64 on the CPU, with what surrounds its step.
struct WideAdam {
  Tensor weights, exp_avg, exp_avg_sq, average;
  bool is_decoupled = true;
  int count = 0;

  WideAdam(const Tensor& weights, bool is_decoupled);
  /// @param keep  of the average
  void step(Tensor gradient, double rate, double weight_decay, double keep);
};

/// The largest relative difference, where numbers below 0.1 count as 0.1.
double difference(const Tensor& ours, const Tensor& expected);

}  // namespace casdm::testing
