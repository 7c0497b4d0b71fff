// The speed of the U-Net's 3x3 convolutions, compared with LibTorch's in the same run, at the shapes of the three
// networks of cpu/compare.py and of sampling 64 images:
//
//     winograd_conv2d             beside  at::conv2d
//     winograd_input_gradient     beside  at::convolution_backward  of x
//     winograd_weight_gradient    beside  at::convolution_backward  of the weight
//
// Prints milliseconds, the fastest of some alternating turns, and how many times faster ours are. The transform of the
// weight is included.
//
//     OMP_NUM_THREADS=2 chrt -f 10 convolution_benchmark
#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <limits>
#include <vector>

#include "convolution/winograd.h"

namespace {

using namespace casdm::convolution;
using Clock = std::chrono::steady_clock;

constexpr int kTurns = 9;

struct Shape {
  std::int64_t batch, size, in, out;
};

const std::vector<Shape> kShapes = {
    // 16 px, 32 channels
    {16, 16, 32, 32},
    {16, 8, 64, 64},
    {16, 8, 128, 64},
    {16, 4, 64, 64},
    // 32 px, 64 channels
    {16, 32, 64, 64},
    {16, 32, 128, 64},
    {16, 32, 192, 64},
    {16, 16, 128, 128},
    {16, 16, 256, 128},
    {16, 8, 128, 128},
    {16, 8, 256, 128},
    {16, 4, 128, 128},
    {16, 4, 256, 128},
    // 32 px, 128 channels
    {8, 32, 128, 128},
    {8, 32, 384, 128},
    {8, 16, 256, 256},
    {8, 16, 512, 256},
    {8, 8, 256, 256},
    {8, 8, 512, 256},
    {8, 4, 256, 256},
    {8, 4, 512, 256},
    // 512 channels
    {8, 16, 512, 512},
    {8, 8, 512, 512},
    // sampling
    {64, 32, 64, 64},
    {64, 16, 128, 128},
    {64, 8, 256, 128},
    {64, 4, 128, 128},
    // the trunk of ST-LPIPS at 64 px, and its last slices at 32 px
    {16, 33, 128, 128},
    {16, 17, 256, 256},
    {16, 9, 256, 512},
    {16, 9, 512, 512},
    {16, 5, 512, 512}};

struct Times {
  double ours = std::numeric_limits<double>::infinity(), theirs = ours;
};

double milliseconds(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void measure(Times& times, const std::function<void()>& ours, const std::function<void()>& theirs) {
  times.ours = std::min(times.ours, milliseconds(ours));
  times.theirs = std::min(times.theirs, milliseconds(theirs));
}

void compare(const Shape& s) {
  const at::MemoryFormat format = at::MemoryFormat::ChannelsLast;
  const Tensor x = at::randn({s.batch, s.in, s.size, s.size}).contiguous(format);
  const Tensor weight = at::randn({s.out, s.in, 3, 3}), bias = at::randn({s.out});
  const Tensor grad_y = at::randn({s.batch, s.out, s.size, s.size}).contiguous(format);
  if (!has_winograd(x, weight)) return;
  const std::vector<std::int64_t> one = {1, 1}, none = {0, 0};
  const auto backward = [&](std::array<bool, 3> wanted) {
    at::convolution_backward(grad_y, x, weight, at::IntArrayRef(s.out), one, one, one, false, none, 1, wanted);
  };
  Times forward, of_x, of_weight;
  for (int turn = 0; turn < kTurns; ++turn) {
    measure(
        forward, [&] { winograd_conv2d(x, weight, bias); }, [&] { at::conv2d(x, weight, bias, 1, 1); });
    measure(
        of_x, [&] { winograd_input_gradient(grad_y, weight); },
        [&] {
          backward({true, false, false});
        });
    measure(
        of_weight, [&] { winograd_weight_gradient(grad_y, x); },
        [&] {
          backward({false, true, false});
        });
  }
  std::printf("%2lld x %2lld px %4lld -> %3lld", static_cast<long long>(s.batch), static_cast<long long>(s.size),
              static_cast<long long>(s.in), static_cast<long long>(s.out));
  for (const Times& times : {forward, of_x, of_weight}) {
    std::printf("  %6.2f ms, LibTorch %6.2f ms, ratio %.2f", times.ours, times.theirs, times.theirs / times.ours);
  }
  std::puts("");
}

}  // namespace

int main() {
  const c10::InferenceMode no_gradients;
  std::puts("batch x size, channels: forward, gradient of x, gradient of the weight");
  for (const Shape& shape : kShapes) compare(shape);
  return 0;
}
