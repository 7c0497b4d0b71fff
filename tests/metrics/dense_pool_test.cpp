#include "trunks/dense_pool.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>

using at::Tensor;
using casdm::trunks::dense_max_pool;

namespace {

Tensor channels_last(const Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }

Tensor gradient(const Tensor& y, const Tensor& x, const Tensor& grad_y) {
  return torch::autograd::grad({y}, {x}, {grad_y})[0];
}

}  // namespace

TEST_CASE("dense pooling of channels-last images and its gradient are those of at::max_pool2d") {
  at::manual_seed(0);
  for (const std::int64_t kernel : {2, 3}) {
    for (const std::int64_t rows : {kernel, std::int64_t{7}}) {
      CAPTURE(kernel);
      CAPTURE(rows);
      const Tensor x = channels_last(at::randn({3, 5, rows, 6})).requires_grad_();
      const Tensor y = dense_max_pool(x, kernel);
      CHECK(y.is_contiguous(at::MemoryFormat::ChannelsLast));
      const Tensor expected = at::max_pool2d(x, kernel, 1);
      CHECK(at::equal(y, expected));
      const Tensor grad_y = at::randn_like(y);
      CHECK(at::allclose(gradient(y, x, grad_y), gradient(expected, x, grad_y), 1e-6, 1e-6));
    }
  }
}

TEST_CASE("equal values share the gradient of a dense pool as they do in float64, whose pool is composed") {
  at::manual_seed(1);
  for (const std::int64_t kernel : {2, 3}) {
    CAPTURE(kernel);
    const Tensor values = at::randint(0, 3, {2, 4, 8, 9}).to(at::kFloat);
    const Tensor x = channels_last(values).requires_grad_();
    const Tensor wide = values.to(at::kDouble).requires_grad_();
    const Tensor y = dense_max_pool(x, kernel), grad_y = at::randn_like(y);
    const Tensor expected = gradient(dense_max_pool(wide, kernel), wide, grad_y.to(at::kDouble));
    CHECK(at::allclose(gradient(y, x, grad_y).to(at::kDouble), expected, 1e-5, 1e-6));
  }
}

TEST_CASE("a NaN reaches every window of a dense pool that it lies in") {
  const Tensor x = channels_last(at::zeros({1, 2, 4, 4}));
  x[0][1][1][2] = std::numeric_limits<float>::quiet_NaN();
  const Tensor is_nan = dense_max_pool(x, 2).isnan();
  CHECK(is_nan.sum().item<std::int64_t>() == 4);
  CHECK(is_nan[0][1].slice(0, 0, 2).slice(1, 1, 3).all().item<bool>());
}

TEST_CASE("the gradient of a dense pool can be differentiated again") {
  at::manual_seed(2);
  const Tensor x = channels_last(at::randn({1, 3, 5, 5})).requires_grad_();
  const Tensor y = dense_max_pool(x, 2), grad_y = at::randn_like(y).requires_grad_();
  const Tensor grad_x = torch::autograd::grad({y}, {x}, {grad_y}, true, /*create_graph=*/true)[0];
  // It is linear in grad_y: by Euler's relation its product with its own derivative is itself.
  const Tensor direction = at::randn_like(grad_x);
  const Tensor derivative = gradient(grad_x, grad_y, direction);
  CHECK((derivative * grad_y).sum().item<double>() ==
        doctest::Approx((grad_x * direction).sum().item<double>()).epsilon(1e-5));
}
