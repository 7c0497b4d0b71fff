#include "framework/cost/products.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <doctest/doctest.h>

#include "framework/cost/usage_meter.h"

using namespace casdm;

namespace {

PartUsage counted(const std::function<void()>& work) {
  const UsageMeter meter(
      {}, [](const ComponentConfig&) { return "part"; }, "host");
  work();
  const std::vector<PartUsage> parts = meter.parts();
  return parts.empty() ? PartUsage{} : parts.front();
}

at::Tensor images(std::int64_t channels, bool needs_gradient = false) {
  return at::rand({2, channels, 8, 8}).requires_grad_(needs_gradient);
}

}  // namespace

TEST_CASE("a convolution multiplies each output element by the weights of its channel, whatever its options") {
  const at::Tensor weight = at::rand({6, 4, 3, 3});
  const auto convolved = [&](std::int64_t channels, std::vector<std::int64_t> stride, std::vector<std::int64_t> padding,
                             std::vector<std::int64_t> dilation, std::int64_t groups) {
    return counted([&] { at::conv2d(images(channels), weight, {}, stride, padding, dilation, groups); }).forward;
  };
  CHECK(convolved(4, {1, 1}, {1, 1}, {1, 1}, 1) == 2 * 6 * 64 * 4 * 9);
  CHECK(convolved(4, {2}, {1}, {1}, 1) == 2 * 6 * 16 * 4 * 9);
  CHECK(convolved(4, {1, 2}, {0, 1}, {1, 1}, 1) == 2 * 6 * 6 * 4 * 4 * 9);
  CHECK(convolved(4, {1, 1}, {0, 0}, {2, 2}, 1) == 2 * 6 * 16 * 4 * 9);
  CHECK(convolved(8, {1, 1}, {1, 1}, {1, 1}, 2) == 2 * 6 * 64 * 4 * 9);
  CHECK(counted([&] { at::conv1d(at::rand({2, 4, 10}), at::rand({6, 4, 3})); }).forward == 2 * 6 * 8 * 4 * 3);
}

TEST_CASE("a transposed convolution multiplies each input element") {
  const at::Tensor weight = at::rand({4, 6, 3, 3});
  CHECK(counted([&] { at::conv_transpose2d(images(4), weight, {}, 2); }).forward == 2 * 4 * 64 * 6 * 9);
}

TEST_CASE("each gradient of a convolution costs as much as the convolution") {
  const std::int64_t once = 2 * 6 * 64 * 4 * 9;
  for (const auto& [of_input, of_weight] : {std::pair(true, true), std::pair(true, false), std::pair(false, true)}) {
    const at::Tensor x = images(4, of_input), weight = at::rand({6, 4, 3, 3}).requires_grad_(of_weight);
    const PartUsage usage = counted([&] { at::conv2d(x, weight, {}, 1, 1).sum().backward(); });
    CHECK(usage.forward == once);
    CHECK(usage.backward == (of_input ? once : 0) + (of_weight ? once : 0));
  }
}

TEST_CASE("products of matrices count their three lengths, once") {
  const at::Tensor a = at::rand({3, 5}), b = at::rand({5, 7}), bias = at::rand({7});
  const at::Tensor as = at::rand({2, 3, 5}), bs = at::rand({2, 5, 7});
  CHECK(counted([&] { at::mm(a, b); }).forward == 3 * 5 * 7);
  CHECK(counted([&] { at::addmm(bias, a, b); }).forward == 3 * 5 * 7);
  CHECK(counted([&] { at::linear(a, b.t(), bias); }).forward == 3 * 5 * 7);
  CHECK(counted([&] { at::matmul(as, b); }).forward == 2 * 3 * 5 * 7);
  CHECK(counted([&] { at::bmm(as, bs); }).forward == 2 * 3 * 5 * 7);
  CHECK(counted([&] { at::baddbmm(at::rand({2, 3, 7}), as, bs); }).forward == 2 * 3 * 5 * 7);
  CHECK(counted([&] { at::einsum("bij,bjk->bik", {as, bs}); }).forward == 2 * 3 * 5 * 7);
  CHECK(counted([&] { at::mv(a, at::rand({5})); }).forward == 3 * 5);
  CHECK(counted([&] { at::sin(a).add(1); }).forward == 0);
}

TEST_CASE("attention counts the products of queries and keys, and of their weights and values") {
  const auto made = [] { return at::rand({2, 3, 16, 8}).requires_grad_(); };
  const at::Tensor q = made(), k = made(), v = made();
  const std::int64_t product = 2 * 3 * 16 * 16 * 8;
  const PartUsage usage = counted([&] { at::scaled_dot_product_attention(q, k, v).sum().backward(); });
  CHECK(usage.forward == 2 * product);
  CHECK(usage.backward == 5 * product);  // one of them again, since it was not kept
}

TEST_CASE("code that multiplies by itself can say how much") {
  CHECK(counted([] {
          RECORD_USER_SCOPE_WITH_INPUTS(kOwnProducts, std::vector<c10::IValue>{1234});
          at::mm(at::rand({2, 2}), at::rand({2, 2}));  // inside, and so counted with it
        }).forward == 1234);
}
