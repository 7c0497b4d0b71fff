#include <ATen/ATen.h>

#include <cmath>

#include "casdm/optimizer.h"
#include "casdm/testing.h"

using casdm::testing::check;
using casdm::testing::make;

namespace {

/// A matrix with two elements and a bias with one, in flat tensors.
casdm::Optimizer::Spec parameters() {
  casdm::Optimizer::Spec spec{{}, at::tensor({1.0F, 2.0F, 3.0F}), at::tensor({3.0F, 4.0F, -5.0F})};
  const auto add = [&](const char* name, casdm::ParameterRole role, std::int64_t offset, at::IntArrayRef shape) {
    const auto view = [&](const casdm::Tensor& flat) {
      return flat.narrow(0, offset, c10::multiply_integers(shape)).view(shape);
    };
    spec.parameters.push_back({name, role, offset, view(spec.weights), view(spec.gradients)});
  };
  add("weight", casdm::ParameterRole::matrix, 0, {1, 2});
  add("bias", casdm::ParameterRole::bias, 2, {1});
  return spec;
}

}  // namespace

int main() {
  const casdm::Optimizer::Spec spec = parameters();
  const auto optimizer =
      make<casdm::Optimizer>("template_name", casdm::Value::Table{{"momentum", 0.0}, {"weight_decay", 0.5}}, spec);
  optimizer->step({0.1});
  const double rms = std::sqrt((9.0 + 16.0) / 2);
  const casdm::Tensor expected = at::tensor({0.95 * 1 - 0.1 * 3 / rms, 0.95 * 2 - 0.1 * 4 / rms, 3 + 0.1}, at::kFloat);
  check(at::allclose(spec.weights, expected), "a step decays the matrix and moves each parameter by the learning rate");
  check(optimizer->buffers().size() == 2, "the momentum of each parameter is saved");
  return casdm::testing::result();
}
