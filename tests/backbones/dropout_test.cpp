#include <ATen/core/grad_mode.h>
#include <doctest/doctest.h>

#include "backbones/networks.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

Tensor global_state() { return at::globalContext().defaultGenerator(at::kCPU).get_state().clone(); }

}  // namespace

TEST_CASE("dropout repeats with its seeds, and differs with others") {
  const auto network = small_unet("dropout = 0.3");
  const Evaluation first = evaluate(*network, {}, with_dropout(5));
  CHECK(is_equal(evaluate(*network, {}, with_dropout(5)), first));
  CHECK_FALSE(at::equal(evaluate(*network, {}, with_dropout(6)).out, first.out));
}

TEST_CASE("dropout is off without seeds, in evaluation, and at probability 0") {
  const auto plain = small_unet();
  const Evaluation expected = evaluate(*plain);
  CHECK(is_equal(evaluate(*plain, {}, with_dropout(5)), expected));
  const auto network = small_unet("dropout = 0.3");
  CHECK(is_equal(evaluate(*network), expected));
  network->train(false);
  CHECK(is_equal(evaluate(*network, {}, with_dropout(5)), expected));
  network->train(true);
  CHECK_FALSE(is_equal(evaluate(*network, {}, with_dropout(5)), expected));
}

TEST_CASE("dropout leaves the global generator alone") {
  for (const char* options : {"dropout = 0.3", "dropout = 0.3\ncheckpoint = true"}) {
    const Tensor before = global_state();
    const auto network = small_unet(options);
    evaluate(*network, {}, with_dropout(5));
    CHECK(at::equal(global_state(), before));
  }
}

TEST_CASE("an image's dropout does not depend on the rest of the batch or its size") {
  for (const char* options : {"dropout = 0.3", "dropout = 0.3\ncheckpoint = true"}) {
    const auto network = small_unet(options);
    const at::NoGradGuard no_grad;
    const Input input;
    const Condition all = with_dropout(5);
    const Tensor whole = network->forward(input.x, input.t, all);
    for (std::int64_t i = 0; i < 3; ++i) {
      Condition own;
      own.dropout.seeds = {all.dropout.seeds[static_cast<std::size_t>(i)]};
      const Tensor alone = network->forward(input.x.narrow(0, i, 1), input.t.narrow(0, i, 1), own);
      // Sums are rounded in a different order for another batch size.
      CHECK(at::allclose(alone, whole.narrow(0, i, 1), 1e-4, 1e-5));
    }
  }
}

TEST_CASE("dropout keeps expectations") {
  // Only one convolution follows a dropout, so small that the output is linear in its contribution.
  const auto network = small_unet("dropout = 0.5");
  const auto scale_last = [&](double factor) {
    for (auto& [name, value] : network->parameters()) {
      const bool is_last = name.starts_with("output_blocks.3.0.");
      if (name.ends_with("out_layers.3.weight")) value.detach().mul_(is_last ? factor : 0.0);
    }
  };
  const Input input;
  const at::NoGradGuard no_grad;
  const auto output = [&](const Condition& condition) {
    return network->forward(input.x, input.t, condition).to(at::kDouble);
  };
  scale_last(1e-2);
  const Tensor whole = output({});
  constexpr int kDraws = 100;
  Tensor mean = at::zeros_like(whole);
  for (int seed = 0; seed < kDraws; ++seed) mean += output(with_dropout(static_cast<std::uint64_t>(seed))) / kDraws;
  scale_last(0.0);
  const Tensor without = output({});
  const Tensor added = whole - without;
  const double kept = ((mean - without) * added).sum().item<double>() / added.square().sum().item<double>();
  // The standard error is about 0.01: 100 draws of some 10^4 masked values. Without scaling, this would be 0.5.
  CHECK(kept == doctest::Approx(1.0).epsilon(0.05));
}
