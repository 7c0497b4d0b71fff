#include "casdm/resize.h"

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <doctest/doctest.h>
#include <torch/csrc/autograd/autograd.h>

#include <array>

#include "casdm/error.h"
#include "casdm/on_device.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

TEST_CASE("images resized by matrix products are LibTorch's, larger and smaller, and so are their gradients") {
  constexpr std::array<std::array<std::int64_t, 2>, 4> kSizes = {{{7, 12}, {31, 9}, {16, 16}, {1, 40}}};
  for (const Interpolation interpolation : {Interpolation::bilinear, Interpolation::bicubic, Interpolation::area}) {
    for (const auto& [height, width] : kSizes) {
      const Tensor images = fill(1, {2, 3, 16, 18}).to(at::kDouble).requires_grad_();
      const Tensor expected = resized(images, height, width, interpolation);
      const Tensor found = resized_by_products(images, height, width, interpolation);
      CHECK(max_relative_difference(found.detach(), expected.detach()) < 1e-14);
      const auto gradient = [&](const Tensor& result) {
        return torch::autograd::grad({result.square().sum()}, {images})[0];
      };
      CHECK(max_relative_difference(gradient(found), gradient(expected)) < 1e-14);
    }
  }
}

TEST_CASE("a matrix is created for each dtype of image") {
  const Tensor images = fill(2, {1, 1, 8, 8});
  const Tensor exact = resized_by_products(images.to(at::kDouble), 5, 5, Interpolation::bilinear);
  const Tensor found = resized_by_products(images, 5, 5, Interpolation::bilinear);
  CHECK((found.scalar_type() == at::kFloat));
  CHECK(max_relative_difference(found, exact) < 1e-6);
}

TEST_CASE("images are not rounded to half precision where they are resized") {
  const Tensor images = fill(4, {1, 2, 8, 8});
  const Tensor expected = resized_by_products(images, 20, 20, Interpolation::bilinear);
  at::autocast::set_autocast_enabled(at::kCPU, true);
  const Tensor found = resized_by_products(images, 20, 20, Interpolation::bilinear);
  at::autocast::set_autocast_enabled(at::kCPU, false);
  CHECK(at::equal(found, expected));
}

TEST_CASE("an element function runs where the host has set a launcher, and only on int32") {
  const ElementFunction twice{"twice", "template <typename T> T twice(T x) { return x + x; }"};
  const std::vector<Tensor> inputs = {at::arange(3, at::kInt)};
  CHECK_FALSE(for_each_element(twice, inputs, {}).defined());
  set_element_launcher(c10::kCPU, [](const ElementFunction&, const std::vector<Tensor>& x,
                                     const std::vector<std::int64_t>&) { return x[0] + x[0]; });
  CHECK(at::equal(for_each_element(twice, inputs, {}), at::arange(3, at::kInt) * 2));
  const auto launch = [&] { for_each_element(twice, {at::arange(3, at::kFloat)}, {}); };
  CHECK_THROWS_WITH_AS(launch(), doctest::Contains("twice takes int32 numbers on one device, got Float"), Error);
  set_element_launcher(c10::kCPU, nullptr);
  CHECK_FALSE(for_each_element(twice, inputs, {}).defined());
}

TEST_CASE("what is already on the device is not copied") {
  const Tensor x = fill(3, {4});
  CHECK(to_device(x, c10::Device(c10::kCPU)).is_same(x));
}
