#include <doctest/doctest.h>

#include "backbones/networks.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

Tensor global_state() { return at::globalContext().defaultGenerator(at::kCPU).get_state().clone(); }

}  // namespace

TEST_CASE("dropout repeats with its generator, and differs with another") {
  const auto network = small_unet("dropout = 0.3");
  const Evaluation first = evaluate(*network, {}, with_dropout(5));
  CHECK(is_equal(evaluate(*network, {}, with_dropout(5)), first));
  CHECK_FALSE(at::equal(evaluate(*network, {}, with_dropout(6)).out, first.out));
}

TEST_CASE("dropout is off without a generator, in evaluation, and at probability 0") {
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

TEST_CASE("dropout draws from its generator alone") {
  for (const char* options : {"dropout = 0.3", "dropout = 0.3\ncheckpoint = true"}) {
    const Tensor before = global_state();
    const auto network = small_unet(options);
    evaluate(*network, {}, with_dropout(5));
    CHECK(at::equal(global_state(), before));
  }
}
