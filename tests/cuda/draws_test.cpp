#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <torch/csrc/autograd/autograd.h>

#include "casdm/philox.h"
#include "casdm/random.h"
#include "casdm/resize.h"
#include "cuda/device.h"
#include "framework/support/exception_message.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;

namespace {

std::vector<std::uint64_t> seeds(std::int64_t count) {
  std::vector<std::uint64_t> result;
  for (std::int64_t i = 0; i < count; ++i) result.push_back(derive_seed(7, "noise", static_cast<std::uint64_t>(i)));
  return result;
}

}  // namespace

TEST_CASE("noise has the same bits on CUDA as on the CPU, whatever its dtype and format") {
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf}) {
    const Tensor like = at::empty({5, 3, 17, 9}, type);
    CHECK(at::equal(normal_like(like, seeds(5)), normal_like(like.to(cuda()), seeds(5)).cpu()));
  }
  const Tensor last = at::empty({2, 4, 6, 6}).contiguous(at::MemoryFormat::ChannelsLast);
  CHECK(at::equal(normal_like(last, seeds(2)), normal_like(last.to(cuda()), seeds(2)).cpu()));
}

TEST_CASE("dropout keeps the same elements on CUDA as on the CPU, in its gradient, too") {
  const Dropout dropout{seeds(4)};
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const double p : {0.1, 0.9}) {
      for (const std::int64_t width : {7, 8}) {
        const Tensor images = (fill(3, {4, 6, 5, width}) + 2).to(type);
        for (const at::MemoryFormat format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
          const Tensor x = images.contiguous(format);
          const Tensor y = x.to(cuda()).requires_grad_();
          const Tensor dropped = dropout.apply(y, p, 0x123456789ABCDEF0);
          CHECK(at::equal(dropout.apply(x, p, 0x123456789ABCDEF0), dropped.cpu()));
          CHECK(dropped.is_contiguous(format));
          const Tensor gradient = torch::autograd::grad({dropped.sum()}, {y})[0];
          CHECK(at::equal(gradient.ne(0), dropped.ne(0)));
        }
      }
    }
  }
}

TEST_CASE("resized images and their gradients are LibTorch's on CUDA, and repeat bit for bit") {
  compute_in(Precision::fp32);
  for (const Interpolation interpolation : {Interpolation::bilinear, Interpolation::bicubic, Interpolation::area}) {
    const Tensor x = fill(4, {3, 2, 32, 32});
    const auto both = [&](const Tensor& images) {
      const Tensor input = images.detach().requires_grad_();
      const Tensor small = resized(input, 12, 20, interpolation);
      return std::pair(small.detach().cpu(), torch::autograd::grad({small.square().sum()}, {input})[0].cpu());
    };
    const auto [cpu, cpu_gradient] = both(x);
    const auto [gpu, gradient] = both(x.to(cuda()));
    CHECK(max_relative_difference(gpu, cpu) < 5e-6);
    CHECK(max_relative_difference(gradient, cpu_gradient) < 5e-6);
    CHECK(at::equal(both(x.to(cuda())).second, gradient));
  }
}

TEST_CASE("an operation without a deterministic form is refused, and the message says what to set") {
  const Tensor x = fill(1, {2, 3, 8, 8}).to(cuda()).requires_grad_();
  try {
    torch::autograd::grad({at::adaptive_avg_pool2d(x, {3, 3}).sum()}, {x});
    FAIL("nothing was thrown");
  } catch (const std::exception& error) {
    const std::string message = exception_message(error);
    CHECK_MESSAGE(message.find("run.deterministic = false") != std::string::npos, message);
  }
}
