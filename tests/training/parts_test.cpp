#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cmath>

#include "casdm/error.h"
#include "casdm/random.h"
#include "framework/training/loss_scaler.h"
#include "framework/training/module_state.h"
#include "training/small_run.h"

using namespace casdm;

namespace {

class TwoTensors final : public Network {
 public:
  TwoTensors() {
    at::Generator generator = make_generator(1);
    weight = add_parameter("weight", at::empty({3, 5}).normal_(0, 1, generator));
    bias = add_parameter("bias", at::empty({7}).normal_(0, 1, generator));
  }
  Tensor weight;
  Tensor bias;
};

/// AdamW as published (Loshchilov & Hutter 2019), in double precision.
struct Adam {
  double m = 0;
  double v = 0;
  double step(double value, double gradient, int t, double rate, double decay) {
    m = 0.9 * m + 0.1 * gradient;
    v = 0.999 * v + 0.001 * gradient * gradient;
    value -= rate * decay * value;
    return value - rate * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
  }
};

}  // namespace

TEST_CASE("the flat optimiser and average agree with their formulas") {
  auto network = std::make_shared<TwoTensors>();
  EmaOptions ema;
  ema.decay = 0.5;
  double value = network->weight[1][2].item<double>();
  ModuleState module({"theta", network, true}, testing::optimizer("adamw", "weight_decay = 0.1"), ema,
                     c10::Device(c10::kCPU));
  CHECK(network->weight[1][2].item<double>() == value);
  Adam adam;
  double average = value;
  for (int t = 1; t <= 5; ++t) {
    module.zero_grad();
    (network->weight.square().sum() * 0.5 + network->bias.sum()).backward();
    const double gradient = network->weight[1][2].item<double>();
    CHECK(network->weight.grad()[1][2].item<double>() == doctest::Approx(gradient));
    module.optimizer_step(1e-2, at::ones({}) * 0.25);
    value = adam.step(value, 0.25 * gradient, t, 1e-2, 0.1);
    CHECK(network->weight[1][2].item<double>() == doctest::Approx(value).epsilon(1e-6));
    module.update_averages({t, t, 1});
    const double decay = std::min(0.5, (1.0 + t) / (10.0 + t));
    average = decay * average + (1 - decay) * value;
  }
  CHECK(module.average()[0].second[1][2].item<double>() == doctest::Approx(average).epsilon(1e-6));
  const std::vector<Tensor> scratch = {at::empty({4}), at::empty({1}), at::empty({100})};  // 22 weights
  module.swap_ema(scratch[0]);
  CHECK(network->weight[1][2].item<double>() == doctest::Approx(average).epsilon(1e-6));
  for (const Tensor& space : scratch) module.swap_ema(space);
  CHECK(network->weight[1][2].item<double>() == doctest::Approx(value).epsilon(1e-6));
}

TEST_CASE("the gradient norm is taken over all parameters together") {
  auto network = std::make_shared<TwoTensors>();
  ModuleState module({"theta", network, true}, testing::optimizer(), {}, c10::Device(c10::kCPU));
  module.zero_grad();
  (network->weight.sum() * 2 + network->bias.sum() * 3).backward();
  CHECK(module.grad_norm().item<double>() == doctest::Approx(std::sqrt(15 * 4.0 + 7 * 9.0)));
}

TEST_CASE("a module has a gradient once a backward pass has reached it, even with zeros") {
  auto network = std::make_shared<TwoTensors>();
  ModuleState module({"theta", network, true}, testing::optimizer(), {}, c10::Device(c10::kCPU));
  module.zero_grad();
  CHECK_FALSE(module.has_gradient());
  (network->bias.sum() * 0).backward();
  CHECK(module.has_gradient());
  CHECK(module.grad_norm().item<double>() == 0);
  module.zero_grad();
  CHECK_FALSE(module.has_gradient());
  const ModuleState frozen({"theta", std::make_shared<TwoTensors>(), false}, testing::optimizer(), {},
                           c10::Device(c10::kCPU));
  CHECK_FALSE(frozen.has_gradient());
}

TEST_CASE("an fp16 overflow in one module halves only its scale and skips only its step") {
  const std::vector<NamedModule> modules = {{"theta", nullptr, true}, {"phi", nullptr, true}};
  LossScaler scaler(modules, Precision::fp16, true);
  StepRecord record;
  record.modules = {"theta", "phi"};
  record.grad_norms = at::tensor({1.0, INFINITY}, at::kFloat);
  scaler.observe(record);
  CHECK_FALSE(scaler.has_overflowed("theta"));
  CHECK(scaler.has_overflowed("phi"));
  scaler.update();
  CHECK(scaler.scale("theta") == 65536);
  CHECK(scaler.scale("phi") == 32768);

  LossScaler shared(modules, Precision::fp16, false);
  shared.observe(record);
  CHECK(shared.has_overflowed("theta"));
}

TEST_CASE("a term for a module that the head lacks is an error") {
  const LossScaler scaler({{"theta", nullptr, true}}, Precision::fp32, true);
  CHECK(scaler.scale("theta") == 1);
  CHECK_THROWS_WITH_AS(scaler.scale("psi"), doctest::Contains("'psi'"), PluginError);
}
