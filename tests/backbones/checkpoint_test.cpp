#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

#include "backbones/networks.h"
#include "support/observed.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

/// bfloat16 autocast on the CPU while this object lives, as in the host's mixed precision.
class Autocast {
 public:
  Autocast() {
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    at::autocast::set_autocast_enabled(at::kCPU, true);
    at::autocast::increment_nesting();
  }
  ~Autocast() {
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
  }
};

/// Forward under autocast, backward outside or inside of it.
Evaluation evaluate_lowered(Backbone& network, bool backward_within, const Condition& condition) {
  const Input input;
  const Tensor x = input.x.clone().requires_grad_(true);
  NamedTensors parameters = network.parameters();
  for (auto& [name, parameter] : parameters) parameter.mutable_grad().reset();
  Tensor out;
  {
    const Autocast autocast;
    out = network.forward(x, input.t, condition);
    if (backward_within) out.backward(input.out_grad.to(out.scalar_type()));
  }
  if (!backward_within) out.backward(input.out_grad.to(out.scalar_type()));
  Evaluation result{out.detach(), {x.grad()}};
  for (auto& [name, parameter] : parameters) result.gradients.push_back(parameter.grad());
  return result;
}

/// Steps of plain gradient descent under autocast; returns the output after each.
std::vector<Tensor> descend(Backbone& network, int steps) {
  std::vector<Tensor> outputs;
  for (int step = 0; step < steps; ++step) {
    const Evaluation evaluation = evaluate_lowered(network, false, with_dropout(static_cast<std::uint64_t>(step)));
    outputs.push_back(evaluation.out);
    const at::NoGradGuard no_grad;
    for (auto& [name, parameter] : network.parameters()) parameter.sub_(parameter.grad(), 1e-2);
  }
  return outputs;
}

const std::string kVariants[] = {"", "use_scale_shift_norm = false\nresblock_updown = true", "num_heads = 4"};

}  // namespace

TEST_CASE("gradient checkpointing does not change a bit of output and gradients") {
  for (const std::string& variant : kVariants) {
    CAPTURE(variant);
    const auto plain = small_unet(variant);
    const auto checkpointed = small_unet(variant + "\n" + "checkpoint = true");
    CHECK(is_equal(evaluate(*checkpointed), evaluate(*plain)));
    CHECK(is_equal(evaluate(*checkpointed, larger_input()), evaluate(*plain, larger_input())));
  }
}

TEST_CASE("gradient checkpointing repeats dropout") {
  for (const std::string& variant : kVariants) {
    CAPTURE(variant);
    const auto plain = small_unet(variant + "\n" + "dropout = 0.3");
    const auto checkpointed = small_unet(variant + "\n" + "dropout = 0.3\ncheckpoint = true");
    CHECK(is_equal(evaluate(*checkpointed, {}, with_dropout(5)), evaluate(*plain, {}, with_dropout(5))));
  }
}

TEST_CASE("gradient checkpointing repeats autocast, whether or not backward runs under it") {
  const auto plain = small_unet("dropout = 0.3");
  const auto checkpointed = small_unet("dropout = 0.3\ncheckpoint = true");
  const Evaluation expected = evaluate_lowered(*plain, false, with_dropout(5));
  CHECK((expected.out.scalar_type() == at::kBFloat16));
  CHECK(is_equal(evaluate_lowered(*checkpointed, false, with_dropout(5)), expected));
  CHECK(is_equal(evaluate_lowered(*checkpointed, true, with_dropout(5)), expected));
  CHECK_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
}

TEST_CASE("gradient checkpointing does not reuse the cast of a weight that a step has changed") {
  const auto plain = small_unet("dropout = 0.3");
  const auto checkpointed = small_unet("dropout = 0.3\ncheckpoint = true");
  const std::vector<Tensor> expected = descend(*plain, 4);
  const std::vector<Tensor> found = descend(*checkpointed, 4);
  for (std::size_t step = 0; step < expected.size(); ++step) {
    CAPTURE(step);
    CHECK(at::equal(found[step], expected[step]));
  }
  CHECK_FALSE(at::equal(expected[0], expected[3]));
  CHECK(at::autocast::is_autocast_cache_enabled());
}

TEST_CASE("gradient checkpointing changes no bit of contiguous images, either, in any precision") {
  const auto plain = small_unet("memory_format = \"contiguous\"");
  const auto checkpointed = small_unet("memory_format = \"contiguous\"\ncheckpoint = true");
  CHECK(is_equal(evaluate(*checkpointed), evaluate(*plain)));
  CHECK(is_equal(evaluate_lowered(*checkpointed, false, {}), evaluate_lowered(*plain, false, {})));
}

TEST_CASE("a U-Net multiplies by the same operators whether or not gradients are wanted") {
  const Input input;
  for (const std::string format : {"contiguous", "channels_last"}) {
    for (const bool is_lowered : {false, true}) {
      CAPTURE(format);
      CAPTURE(is_lowered);
      const auto network = small_unet("memory_format = \"" + format + "\"");
      const auto products = [&] {
        std::optional<Autocast> autocast;
        if (is_lowered) autocast.emplace();
        std::vector<std::string> names;
        observe_operators(
            [&](std::string_view name, auto) {
              if (name.ends_with("mm") || name.ends_with("convolution")) names.emplace_back(name);
            },
            [&] { network->forward(input.x, input.t, {}); });
        return names;
      };
      const std::vector<std::string> with = products();
      const at::NoGradGuard no_grad;
      CHECK(products() == with);
    }
  }
}

TEST_CASE("gradient checkpointing has no cost without gradients") {
  const auto plain = small_unet();
  const auto checkpointed = small_unet("checkpoint = true");
  const Input input;
  const at::NoGradGuard no_grad;
  const Tensor out = checkpointed->forward(input.x, input.t, {});
  CHECK_FALSE(out.requires_grad());
  CHECK(at::equal(out, plain->forward(input.x, input.t, {})));
}
