#include "convolution/conv2d_3x3.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <doctest/doctest.h>
#include <torch/csrc/autograd/autograd.h>

#include <vector>

#include "convolution/winograd.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::convolution;
using namespace casdm::testing;

namespace {

struct Shape {
  std::int64_t batch, height, width, in, out;
};

struct Arguments {
  Tensor x, weight, bias, grad_y;
  explicit Arguments(const Shape& s, double magnitude = 1)
      : x(fill(1, {s.batch, s.in, s.height, s.width}).mul(magnitude).contiguous(at::MemoryFormat::ChannelsLast)),
        weight(fill(2, {s.out, s.in, 3, 3})),
        bias(fill(3, {s.out})),
        grad_y(fill(4, {s.batch, s.out, s.height, s.width}).contiguous(at::MemoryFormat::ChannelsLast)) {}
};

/// y and the gradients of x, weight and bias.
std::vector<Tensor> differentiated(const Tensor& y, const Arguments& a) {
  std::vector<Tensor> all = torch::autograd::grad({y}, {a.x, a.weight, a.bias}, {a.grad_y});
  all.insert(all.begin(), y.detach());
  return all;
}

void require_gradients(Arguments& a) {
  for (Tensor* tensor : {&a.x, &a.weight, &a.bias}) tensor->requires_grad_(true);
}

Arguments in_double(const Arguments& a) {
  Arguments result = a;
  for (Tensor* tensor : {&result.x, &result.weight, &result.bias, &result.grad_y}) {
    *tensor = tensor->detach().to(at::kDouble);
  }
  return result;
}

double product_sum(const Tensor& a, const Tensor& b) { return (a.to(at::kDouble) * b).sum().item<double>(); }

class Threads {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()) { at::set_num_threads(count); }
  ~Threads() { at::set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

bool has_kernels() {
  const Arguments a({1, 4, 4, 32, 32});
  return has_winograd(a.x, a.weight);
}

// Sizes that are no multiples of a tile, a single pixel, a line, numbers of channels with a remainder of 32 beyond the
// parts of 64, and more tiles than a block has.
const std::vector<Shape> kShapes = {{3, 5, 7, 64, 96},  {2, 1, 1, 32, 32},  {1, 1, 9, 96, 32},   {2, 8, 8, 32, 64},
                                    {1, 33, 2, 64, 32}, {1, 4, 4, 512, 32}, {5, 16, 12, 32, 160}};

}  // namespace

TEST_CASE("Winograd's convolution and its gradients agree with float64 for any size and magnitude") {
  if (!has_kernels()) return;
  for (const Shape& shape : kShapes) {
    for (const double magnitude : {1e-12, 1.0, 1e12}) {
      CAPTURE(shape.height);
      CAPTURE(shape.in);
      CAPTURE(magnitude);
      const Arguments a(shape, magnitude);
      Arguments exact = in_double(a);
      require_gradients(exact);
      const std::vector<Tensor> expected = differentiated(at::conv2d(exact.x, exact.weight, exact.bias, 1, 1), exact);
      // float32 rounding (6e-8) that the transforms amplify, over sums of up to 4608 products.
      CHECK(max_relative_difference(winograd_conv2d(a.x, a.weight, a.bias), expected[0]) < 6e-6);
      CHECK(max_relative_difference(winograd_input_gradient(a.grad_y, a.weight), expected[1]) < 6e-6);
      CHECK(max_relative_difference(winograd_weight_gradient(a.grad_y, a.x), expected[2]) < 6e-6);
    }
  }
}

TEST_CASE("conv2d_3x3 is differentiable in all of its arguments, once and twice") {
  Arguments a({2, 16, 12, 32, 64});
  Arguments exact = in_double(a);
  require_gradients(a);
  require_gradients(exact);
  CHECK(is_left_to_aten(a.x, a.weight, a.bias) == !has_kernels());
  const std::vector<Tensor> found = differentiated(conv2d_3x3(a.x, a.weight, a.bias), a);
  const std::vector<Tensor> expected = differentiated(at::conv2d(exact.x, exact.weight, exact.bias, 1, 1), exact);
  for (std::size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    CHECK(max_relative_difference(found[i], expected[i]) < 6e-6);
  }
  const auto twice = [](const Tensor& y, const Arguments& of) {
    const Tensor slope = torch::autograd::grad({y}, {of.x}, {of.grad_y}, true, true)[0];
    return torch::autograd::grad({slope.square().sum()}, {of.weight})[0];
  };
  CHECK(max_relative_difference(twice(conv2d_3x3(a.x, a.weight, a.bias), a),
                                twice(at::conv2d(exact.x, exact.weight, exact.bias, 1, 1), exact)) < 6e-6);
}

TEST_CASE("the gradients of Winograd's convolution are its adjoints") {
  if (!has_kernels()) return;
  const Arguments a({3, 10, 6, 64, 32});
  const double forward = product_sum(winograd_conv2d(a.x, a.weight, {}), a.grad_y);
  // 1e-5: float32 rounding of sums that nearly cancel.
  CHECK(product_sum(winograd_input_gradient(a.grad_y, a.weight), a.x) == doctest::Approx(forward).epsilon(1e-5));
  CHECK(product_sum(winograd_weight_gradient(a.grad_y, a.x), a.weight) == doctest::Approx(forward).epsilon(1e-5));
}

TEST_CASE("an image has the same bits in any batch and with any number of threads") {
  if (!has_kernels()) return;
  const Arguments a({5, 20, 16, 64, 96});
  const Tensor y = winograd_conv2d(a.x, a.weight, a.bias), grad_x = winograd_input_gradient(a.grad_y, a.weight);
  CHECK(at::equal(winograd_conv2d(a.x.narrow(0, 3, 1), a.weight, a.bias), y.narrow(0, 3, 1)));
  const Tensor weight_gradient = winograd_weight_gradient(a.grad_y, a.x);
  for (const int count : {1, 2, 3}) {
    CAPTURE(count);
    const Threads threads(count);
    CHECK(at::equal(winograd_conv2d(a.x, a.weight, a.bias), y));
    CHECK(at::equal(winograd_input_gradient(a.grad_y, a.weight), grad_x));
    const Tensor found = winograd_weight_gradient(a.grad_y, a.x);
    CHECK(at::equal(winograd_weight_gradient(a.grad_y, a.x), found));
    CHECK(max_relative_difference(found, weight_gradient) < 6e-6);
  }
}

TEST_CASE("what needs no gradient gets none, and a convolution without gradients has the same bits") {
  Arguments a({2, 16, 16, 32, 32});
  const Tensor expected = conv2d_3x3(a.x, a.weight, {});
  a.x.requires_grad_(true);
  const Tensor of_x = conv2d_3x3(a.x, a.weight, {});
  CHECK(at::equal(of_x, expected));
  of_x.backward(a.grad_y);
  CHECK(a.x.grad().defined());
  CHECK_FALSE(a.weight.grad().defined());
  a.x = a.x.detach();
  a.bias.requires_grad_(true);
  conv2d_3x3(a.x, a.weight, a.bias).backward(a.grad_y);
  CHECK(max_relative_difference(a.bias.grad(), a.grad_y.to(at::kDouble).sum({0, 2, 3})) < 1e-5);
  const c10::InferenceMode inference;
  CHECK(at::equal(conv2d_3x3(a.x, a.weight, {}), expected));
}

TEST_CASE("everything but float32 channels-last images with suited channels is left to LibTorch, to the bit") {
  const auto is_left = [](const Tensor& x, const Tensor& weight, const Tensor& bias) {
    return is_left_to_aten(x, weight, bias) &&
           at::equal(conv2d_3x3(x, weight, bias), at::conv2d(x, weight, bias, 1, 1));
  };
  const Arguments a({2, 16, 16, 64, 64});
  CHECK(is_left_to_aten(a.x, a.weight, a.bias) == !has_kernels());
  CHECK(is_left(a.x.to(at::kDouble), a.weight.to(at::kDouble), a.bias.to(at::kDouble)));
  CHECK(is_left(a.x.to(at::kBFloat16), a.weight.to(at::kBFloat16), a.bias.to(at::kBFloat16)));
  CHECK(is_left(a.x.contiguous(), a.weight, a.bias));
  CHECK(is_left(a.x, a.weight.contiguous(at::MemoryFormat::ChannelsLast), a.bias));
  CHECK(is_left(a.x.narrow(0, 0, 0), a.weight, a.bias));
  const Arguments few({2, 8, 8, 64, 64}), narrow({2, 16, 16, 48, 64}), final({2, 16, 16, 64, 3});
  for (const Arguments* other : {&few, &narrow, &final}) CHECK(is_left(other->x, other->weight, other->bias));
  at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  CHECK(is_left(a.x, a.weight, a.bias));
  at::autocast::set_autocast_enabled(at::kCPU, false);
  at::autocast::clear_cache();
}
