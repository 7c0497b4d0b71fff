#include "trunks/dense_pool.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <torch/csrc/autograd/autograd.h>

#include <limits>

using at::Tensor;
using casdm::trunks::dense_max_pool;

namespace {

Tensor gradient(const Tensor& y, const Tensor& x, const Tensor& grad_y) {
  return torch::autograd::grad({y}, {x}, {grad_y})[0];
}

}  // namespace

TEST_CASE("dense pooling and its gradient are those of at::max_pool2d in both formats") {
  at::manual_seed(0);
  for (const std::int64_t kernel : {2, 3}) {
    for (const std::int64_t rows : {kernel, std::int64_t{7}}) {
      for (const at::MemoryFormat format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
        CAPTURE(kernel);
        CAPTURE(rows);
        CAPTURE(format);
        const Tensor x = at::randn({3, 5, rows, 6}).contiguous(format).requires_grad_();
        const Tensor wide = x.detach().to(at::kDouble).contiguous().requires_grad_();
        const Tensor y = dense_max_pool(x, kernel), expected = at::max_pool2d(wide, kernel, 1);
        CHECK(at::equal(y.to(at::kDouble), expected));
        CHECK(y.is_contiguous(format));
        const Tensor grad_y = at::randn(y.sizes());
        CHECK(at::allclose(gradient(y, x, grad_y).to(at::kDouble), gradient(expected, wide, grad_y.to(at::kDouble)),
                           1e-6, 1e-6));
      }
    }
  }
}

TEST_CASE("a NaN reaches every window of a dense pool that it lies in") {
  for (const at::MemoryFormat format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
    CAPTURE(format);
    const Tensor x = at::zeros({1, 2, 4, 4}).contiguous(format);
    x[0][1][1][2] = std::numeric_limits<float>::quiet_NaN();
    const Tensor is_nan = dense_max_pool(x, 2).isnan();
    CHECK(is_nan.sum().item<std::int64_t>() == 4);
    CHECK(is_nan[0][1].slice(0, 0, 2).slice(1, 1, 3).all().item<bool>());
  }
}

TEST_CASE("the gradient of a dense pool can be differentiated again") {
  for (const at::MemoryFormat format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
    CAPTURE(format);
    at::manual_seed(2);
    const Tensor x = at::randn({1, 3, 5, 5}).contiguous(format).requires_grad_();
    const Tensor y = dense_max_pool(x, 2), grad_y = at::randn_like(y).requires_grad_();
    const Tensor grad_x = torch::autograd::grad({y}, {x}, {grad_y}, true, /*create_graph=*/true)[0];
    // It is linear in grad_y: by Euler's relation its product with its own derivative is itself.
    const Tensor direction = at::randn_like(grad_x);
    const Tensor derivative = gradient(grad_x, grad_y, direction);
    CHECK((derivative * grad_y).sum().item<double>() ==
          doctest::Approx((grad_x * direction).sum().item<double>()).epsilon(1e-5));
  }
}
