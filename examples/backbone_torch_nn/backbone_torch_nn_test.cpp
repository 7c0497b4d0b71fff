#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "casdm/backbone.h"
#include "casdm/parameter_maker.h"
#include "casdm/testing.h"

using casdm::testing::check;
using casdm::testing::make;

namespace {

void perturb(const casdm::Backbone& network) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, parameter] : network.parameters()) {
    at::Tensor(parameter).add_(casdm::seeded_normal(1, name, parameter.sizes(), 0.05));
  }
}

}  // namespace

int main() {
  const casdm::Backbone::Spec spec{.image = {3, 8, 8}, .out_channels = 4, .seed = 7};
  const casdm::Value options = casdm::Value::Table{{"width", 16}, {"depth", 2}, {"heads", 2}, {"patch", 2}};
  const auto network = make<casdm::Backbone>("transformer", options, spec);
  const at::Tensor x = at::linspace(-1, 1, 2 * 3 * 8 * 8).reshape({2, 3, 8, 8});
  const at::Tensor t = at::arange(2, at::kFloat) * 500;

  const at::Tensor fresh = network->forward(x, t, {});
  check(fresh.sizes() == at::IntArrayRef({2, 4, 8, 8}), "the output has the shape asked for");
  check(fresh.equal(make<casdm::Backbone>("transformer", options, spec)->forward(x, t, {})),
        "one seed makes one network");

  // Layers that start at zero (a last convolution, adaLN-zero) pass nothing on until they have been trained a little.
  perturb(*network);
  const at::Tensor y = network->forward(x, t, {});
  check(!y.equal(network->forward(x, t + 1, {})), "the time matters");

  y.square().sum().backward();
  for (const auto& [name, parameter] : network->parameters()) {
    check(parameter.grad().defined() && parameter.grad().abs().max().item<double>() > 0, name + " gets a gradient");
  }

  // Dropout is a function of the given seeds; nothing draws from the global generator.
  const at::Tensor state = at::globalContext().defaultGenerator(at::kCPU).get_state().clone();
  const auto dropping =
      make<casdm::Backbone>("transformer", casdm::Value::Table{{"width", 16}, {"dropout", 0.5}}, spec);
  perturb(*dropping);
  const auto dropped = [&](std::uint64_t seed) {
    casdm::Condition condition;
    for (std::int64_t i = 0; i < x.size(0); ++i) condition.dropout.seeds.push_back(seed);
    return dropping->forward(x, t, condition);
  };
  check(dropped(1).equal(dropped(1)) && !dropped(1).equal(dropped(2)), "dropout is a function of its seed");
  dropping->train(false);
  check(dropped(1).equal(dropped(2)), "in evaluation there is no dropout");
  check(at::globalContext().defaultGenerator(at::kCPU).get_state().equal(state), "the global generator is untouched");
  return casdm::testing::result();
}
