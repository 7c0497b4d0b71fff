#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "casdm/error.h"
#include "casdm/one_pass_optimizer.h"
#include "casdm/random.h"
#include "optimizers/parameters.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

std::vector<std::string> names(const NamedTensors& tensors) {
  std::vector<std::string> result;
  for (const auto& [name, tensor] : tensors) result.push_back(name);
  return result;
}

Tensor state(const Optimizer& optimizer, const std::string& name) {
  for (const auto& [own, tensor] : optimizer.buffers()) {
    if (own == name) return tensor;
  }
  throw Error("no state " + name);
}

/// The weight after one step with this gradient.
double lion_step(Optimizer& optimizer, const Optimizer::Spec& spec, double gradient, double learning_rate) {
  spec.gradients.zero_();
  spec.parameters[0].gradient.fill_(gradient);
  optimizer.step({learning_rate});
  return spec.parameters[0].weight.item<double>();
}

/// Singular values, largest first.
Tensor singular_values(const Tensor& matrix) {
  return std::get<1>(at::linalg_svd(matrix.to(at::kDouble), /*full_matrices=*/false));
}

/// What one step of Muon without momentum, at learning rate 1, adds to a weight of 0 whose gradient is `gradient`.
Tensor muon_update(const Tensor& gradient, const std::string& options) {
  const at::NoGradGuard no_grad;
  const Optimizer::Spec spec = filled_parameters({{"weight", gradient.sizes().vec()}});
  spec.weights.zero_();
  spec.parameters[0].gradient.copy_(gradient);
  make<Optimizer>("muon", "momentum = 0.0\n" + options, spec)->step({1.0});
  return spec.parameters[0].weight.clone();
}

}  // namespace

TEST_CASE("a whole step of adam and adamw is float64's, and that of separate operations, whatever the threads") {
  const at::NoGradGuard no_grad;
  constexpr double kRate = 1e-2, kDecay = 0.1;
  const int threads = at::get_num_threads();
  for (const std::string name : {"adamw", "adam"}) {
    // Longer than what a thread takes at once, and not a multiple of a vector.
    const std::vector<Shape> shapes = {{"matrix.weight", {523, 129}}, {"bias", {7}}};
    const Optimizer::Spec spec = filled_parameters(shapes), parts = filled_parameters(shapes),
                          threaded = filled_parameters(shapes);
    const std::string options = "weight_decay = 0.1";
    const auto whole = make<Optimizer>(name, options, spec), separate = make<Optimizer>(name, options, parts),
               again = make<Optimizer>(name, options, threaded);
    WideAdam wide(spec.weights, name == "adamw");
    const Tensor average = at::zeros_like(spec.weights), slow = average.clone(), average_again = average.clone();
    for (const double keep : {0.0, 0.3, 0.9}) {
      const Tensor gradient = at::randn(spec.weights.sizes(), casdm::make_generator(7)) * 3;
      const Tensor scale = at::full({}, 0.25);
      for (const Optimizer::Spec* of : {&spec, &parts, &threaded}) of->gradients.copy_(gradient);
      at::set_num_threads(1);
      REQUIRE(dynamic_cast<OnePassOptimizer&>(*whole).whole_step({kRate, scale, {{average, keep}, {slow, 0.999}}}));
      at::set_num_threads(3);
      REQUIRE(dynamic_cast<OnePassOptimizer&>(*again).whole_step({kRate, scale, {{average_again, keep}}}));
      at::set_num_threads(threads);
      parts.gradients.mul_(scale);
      separate->step({kRate});
      wide.step(gradient.to(at::kDouble) / 4, kRate, kDecay, keep);
      CHECK(spec.gradients.eq(0).all().item<bool>());
      CHECK(difference(spec.weights, wide.weights) < 2e-6);
      CHECK(difference(average, wide.average) < 2e-6);
      CHECK(difference(spec.weights, parts.weights) < 2e-6);
      CHECK(difference(state(*whole, "exp_avg_sq.bias"), state(*separate, "exp_avg_sq.bias")) < 2e-6);
      CHECK(threaded.weights.equal(spec.weights));
      CHECK(average_again.equal(average));
    }
    CHECK(state(*whole, "step").item<double>() == 3);
  }
}

TEST_CASE("roles follow from shape and name unless they are declared") {
  CHECK(role_by_shape("out.weight", {8, 4}) == ParameterRole::matrix);
  CHECK(role_by_shape("out.weight", {8, 4, 3, 3}) == ParameterRole::convolution);
  CHECK(role_by_shape("attention.weight", {8, 4, 1}) == ParameterRole::convolution);
  CHECK(role_by_shape("out.bias", {8}) == ParameterRole::bias);
  CHECK(role_by_shape("bias_free.norm.weight", {8}) == ParameterRole::norm);
  CHECK(role_by_shape("temperature", {}) == ParameterRole::norm);
}

TEST_CASE("the state of adamw has the same names as in checkpoints of version 0.1") {
  const Optimizer::Spec spec = filled_parameters({{"conv.weight", {2, 1, 3, 3}}, {"conv.bias", {2}}});
  const auto optimizer = make<Optimizer>("adamw", "", spec);
  CHECK(names(optimizer->buffers()) == std::vector<std::string>{"exp_avg.conv.weight", "exp_avg.conv.bias",
                                                                "exp_avg_sq.conv.weight", "exp_avg_sq.conv.bias",
                                                                "step"});
  CHECK(state(*optimizer, "exp_avg.conv.weight").sizes() == at::IntArrayRef({2, 1, 3, 3}));
  take_steps(*optimizer, spec, 2, 1e-3);
  CHECK(state(*optimizer, "step").item<double>() == 2);
}

TEST_CASE("lion moves by the learning rate, in the direction of momentum and gradient combined") {
  const at::NoGradGuard no_grad;
  const Optimizer::Spec spec = filled_parameters({{"bias", {1}}});
  spec.weights.zero_();
  spec.parameters[0].weight.fill_(1);
  const auto lion = make<Optimizer>("lion", "betas = [0.9, 0.5]\nweight_decay = 0.2", spec);
  // sign(0.1 * 3) = 1: 1 - 0.1 (1 + 0.2 * 1)
  double value = lion_step(*lion, spec, 3, 0.1);
  CHECK(value == doctest::Approx(1 - 0.1 * 1.2));
  CHECK(state(*lion, "exp_avg.bias").item<double>() == doctest::Approx(1.5));
  // sign(0.9 * 1.5 - 0.1 * 5) = 1, against the gradient
  double next = lion_step(*lion, spec, -5, 0.1);
  CHECK(next == doctest::Approx(value - 0.1 * (1 + 0.2 * value)));
  CHECK(state(*lion, "exp_avg.bias").item<double>() == doctest::Approx(0.5 * 1.5 - 0.5 * 5));
  // sign(0.9 * -1.75) = -1
  value = next;
  next = lion_step(*lion, spec, 0, 0.1);
  CHECK(next == doctest::Approx(value - 0.1 * (-1 + 0.2 * value)));
}

TEST_CASE("sgd refuses Nesterov's form without momentum") {
  const Optimizer::Spec spec = filled_parameters({{"bias", {1}}});
  for (const char* options : {"momentum = 0.0\nnesterov = true", "dampening = 0.5\nnesterov = true"}) {
    CHECK_THROWS_WITH_AS(make<Optimizer>("sgd", options, spec), doctest::Contains("momentum above 0 and dampening 0"),
                         ConfigError);
  }
  CHECK(make<Optimizer>("sgd", "momentum = 0.0", spec)->buffers().empty());
}

TEST_CASE("muon's step is the orthogonal factor of the gradient, with singular values near 1") {
  for (const std::vector<std::int64_t>& shape :
       std::vector<std::vector<std::int64_t>>{{12, 20}, {20, 12}, {12, 5, 2, 2}}) {
    CAPTURE(shape.size());
    const Tensor gradient = fill(7, shape);
    const auto columns = static_cast<double>(gradient.numel() / gradient.size(0));
    const double scale = std::sqrt(std::max(1.0, static_cast<double>(gradient.size(0)) / columns));
    const Tensor update = -muon_update(gradient, "scale = \"original\"").flatten(1) / scale;
    const Tensor values = singular_values(update);
    CHECK(values.max().item<double>() < 1.25);
    CHECK(values.min().item<double>() > 0.5);
    // U^T update V is diagonal: the directions are the gradient's.
    const auto [u, s, vt] = at::linalg_svd(gradient.flatten(1).to(at::kDouble), false);
    const Tensor core = u.t().mm(update.to(at::kDouble)).mm(vt.t());
    CHECK(max_relative_difference(core, core.diagonal().diag()) < 1e-4);
    CHECK(core.diagonal().min().item<double>() > 0.5);
  }
}

TEST_CASE("muon's steps can be scaled to the size of AdamW's, and are about the same in bfloat16") {
  const Tensor gradient = fill(8, {30, 40});
  const Tensor update = muon_update(gradient, "");
  // AdamW's first step has root mean square 1; in training it is 0.2 (Liu et al. 2025, section 2.2).
  const double size = update.square().mean().sqrt().item<double>();
  CHECK(size > 0.15);
  CHECK(size < 0.24);
  CHECK(max_relative_difference(muon_update(gradient, "precision = \"bf16\""), update) < 0.05);
  CHECK(max_relative_difference(muon_update(gradient * 1e-5, ""), update) < 1e-3);
}

TEST_CASE("muon leaves parameters that are not inner matrices to AdamW, with a separate rate") {
  const std::vector<Shape> shapes = {{"table.weight", {4, 6}},
                                     {"conv.weight", {4, 2, 3, 3}},
                                     {"norm.weight", {5}},
                                     {"conv.bias", {4}},
                                     {"out.weight", {3, 4, 3, 3}}};
  const auto with_roles = [&] {
    Optimizer::Spec spec = filled_parameters(shapes);
    spec.parameters[0].role = ParameterRole::embedding;
    spec.parameters[4].role = ParameterRole::output;
    return spec;
  };
  const Optimizer::Spec ours = with_roles();
  const auto muon =
      make<Optimizer>("muon", "adamw_rate = 0.5\nadamw_betas = [0.8, 0.9]\nadamw_weight_decay = 0.1", ours);
  take_steps(*muon, ours, 3, 1e-2);
  const Optimizer::Spec theirs = with_roles();
  take_steps(*make<Optimizer>("adamw", "betas = [0.8, 0.9]\nweight_decay = 0.1", theirs), theirs, 3, 0.5e-2);
  for (const char* name : {"table.weight", "norm.weight", "conv.bias", "out.weight"}) {
    CAPTURE(name);
    CHECK(max_relative_difference(weight(ours, name), weight(theirs, name)) < 1e-6);
  }
  CHECK(max_relative_difference(weight(ours, "conv.weight"), weight(theirs, "conv.weight")) > 1e-3);
  std::vector<std::string> state = names(muon->buffers());
  CHECK(std::count_if(state.begin(), state.end(), [](const auto& name) { return name.starts_with("momentum."); }) == 1);
  CHECK(state.size() == 1 + 2 * 4 + 1);
}
