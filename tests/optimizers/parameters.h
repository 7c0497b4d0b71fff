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
Optimizer::Spec filled_parameters(const std::vector<Shape>& shapes);

/// The gradients of step number `step`, from 0: fill(1000 + 10 step + k, shape), k from 0.
void fill_gradients(const Optimizer::Spec& spec, int step);

const Tensor& weight(const Optimizer::Spec& spec, const std::string& name);

/// Takes `steps` steps at one learning rate, with those gradients.
void take_steps(Optimizer& optimizer, const Optimizer::Spec& spec, int steps, double learning_rate);

}  // namespace casdm::testing
