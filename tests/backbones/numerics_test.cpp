#include <ATen/autocast_mode.h>
#include <doctest/doctest.h>

#include "backbones/networks.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// The network in float64, which uses different code: LibTorch's operators instead of our fused norms.
std::shared_ptr<Backbone> in_double(const std::shared_ptr<Backbone>& network) {
  for (auto& [name, parameter] : network->parameters()) parameter.set_data(parameter.detach().to(at::kDouble));
  return network;
}

Input double_input(const Input& input = {}) {
  return {input.x.to(at::kDouble), input.t, input.out_grad.to(at::kDouble)};
}

const std::string kPrecisionVariants[] = {"", "use_scale_shift_norm = false\ngroups = 8",
                                          "resblock_updown = true\nnum_heads = 2"};

}  // namespace

TEST_CASE("float32 agrees with float64, in outputs and gradients") {
  for (const std::string& options : kPrecisionVariants) {
    CAPTURE(options);
    const Evaluation single = evaluate(*small_unet(options));
    const Evaluation exact = evaluate(*in_double(small_unet(options)), double_input());
    REQUIRE((exact.out.scalar_type() == at::kDouble));
    // 1e-5: float32 rounding through some twenty layers.
    CHECK(max_relative_difference(single.out, exact.out) < 1e-5);
    CHECK(gradient_difference(single, exact) < 1e-5);
  }
}

TEST_CASE("convolutions of LibTorch's and of our own both agree with float64, and an option chooses") {
  const Input input = larger_input();
  const Evaluation automatic = evaluate(*small_unet(), input);
  const Evaluation direct = evaluate(*small_unet("convolution = \"direct\""), input);
  const Evaluation exact = evaluate(*in_double(small_unet()), double_input(input));
  for (const Evaluation* single : {&automatic, &direct}) {
    // 1e-5: float32 rounding through some twenty layers.
    CHECK(max_relative_difference(single->out, exact.out) < 1e-5);
    CHECK(gradient_difference(*single, exact) < 1e-5);
  }
#if defined(__x86_64__)
  const bool has_kernels = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  const bool has_kernels = false;
#endif
  CHECK(at::equal(automatic.out, direct.out) == !has_kernels);
}

TEST_CASE("gradients agree with central differences") {
  const auto network = in_double(small_unet("groups = 8\nnum_heads = 2"));
  const Input input = double_input();
  const Evaluation result = evaluate(*network, input);
  const Tensor direction = fill(77, {3, 3, 8, 8}).to(at::kDouble);
  const double step = 1e-5;
  const auto value = [&](double h) {
    return (network->forward(input.x + h * direction, input.t, {}) * input.out_grad).sum().item<double>();
  };
  const double slope = (value(step) - value(-step)) / (2 * step);
  // 1e-7: the third derivative times step^2, and float64 rounding over step.
  CHECK((result.gradients[0] * direction).sum().item<double>() == doctest::Approx(slope).epsilon(1e-7));
}

TEST_CASE("gradients refuse to be differentiated again") {
  const auto network = small_unet();
  const Input input;
  const Tensor x = input.x.clone().requires_grad_(true);
  const Tensor out = network->forward(x, input.t, {});
  CHECK_THROWS_WITH(out.backward(input.out_grad, /*retain_graph=*/true, /*create_graph=*/true),
                    doctest::Contains("differentiated again"));
}

TEST_CASE("a large common offset of x does not spoil the norms") {
  const auto network = small_unet();
  Input input;
  input.x = input.x + 1000;
  Input exact = double_input();
  exact.x = input.x.to(at::kDouble);
  const Tensor single = network->forward(input.x, input.t, {}).detach();
  const Tensor expected = in_double(small_unet())->forward(exact.x, exact.t, {}).detach();
  // The first convolution alone loses three digits at this offset: 1000 * 2^-24 of deviations near 1.
  CHECK(max_relative_difference(single, expected) < 2e-3);
}

TEST_CASE("bfloat16 autocast stays close to float32, and gives float32 gradients") {
  const auto network = small_unet();
  const Evaluation expected = evaluate(*network);
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const Evaluation lowered = evaluate(*network);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
  CHECK((lowered.out.scalar_type() == at::kBFloat16));
  // 2^-8 per rounding, accumulating like noise over about thirty operations.
  CHECK(max_relative_difference(lowered.out, expected.out) < 0.05);
  for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
    REQUIRE((lowered.gradients[i].scalar_type() == at::kFloat));
    CHECK(lowered.gradients[i].isfinite().all().item<bool>());
  }
  CHECK(max_relative_difference(lowered.gradients[0], expected.gradients[0]) < 0.1);
}
