// The speed of draws by position, compared with LibTorch's own draws in the same run:
//
//     normal_like      beside  at::normal_    of a contiguous float32 batch
//     Dropout::apply   beside  at::dropout    forward, and forward with backward; float32 and bfloat16, channels-last
//
// Prints nanoseconds per element, the fastest of many alternating turns, and the ratio to LibTorch. One thread:
//
//     OMP_NUM_THREADS=1 chrt -f 10 draws_benchmark
#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "casdm/philox.h"

namespace {

using Clock = std::chrono::steady_clock;
using at::Tensor;

constexpr int kTurns = 25;
constexpr std::int64_t kImages = 8, kChannels = 64, kSize = 32;

double nanoseconds(const std::function<void()>& work, std::int64_t elements) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / static_cast<double>(elements);
}

void compare(const char* name, std::int64_t elements, const std::function<void()>& ours,
             const std::function<void()>& theirs) {
  double best_ours = 1e9, best_theirs = 1e9;
  for (int turn = 0; turn < kTurns; ++turn) {
    best_ours = std::min(best_ours, nanoseconds(ours, elements));
    best_theirs = std::min(best_theirs, nanoseconds(theirs, elements));
  }
  std::printf("%-36s %6.2f ns, LibTorch %6.2f ns, ratio %.2f\n", name, best_ours, best_theirs, best_ours / best_theirs);
}

void compare_dropout(const char* name, const Tensor& input) {
  std::vector<std::uint64_t> seeds(kImages);
  for (std::size_t i = 0; i < seeds.size(); ++i) seeds[i] = i;
  const casdm::Dropout dropout{seeds};
  const Tensor x = input.detach().requires_grad_(true), gradient = at::ones_like(input);
  const std::string both = std::string(name) + ", with backward";
  compare(
      name, x.numel(), [&] { dropout.apply(input, 0.1, 1); }, [&] { at::dropout(input, 0.1, true); });
  compare(
      both.c_str(), x.numel(), [&] { dropout.apply(x, 0.1, 1).backward(gradient); },
      [&] { at::dropout(x, 0.1, true).backward(gradient); });
}

}  // namespace

int main() {
  const Tensor batch = at::randn({kImages, kChannels, kSize, kSize});
  const std::vector<std::uint64_t> seeds(kImages, 3);
  compare(
      "normal", batch.numel(), [&] { casdm::normal_like(batch, seeds); }, [&] { at::empty_like(batch).normal_(); });
  compare_dropout("dropout, float32", batch);
  compare_dropout("dropout, float32, channels-last", batch.contiguous(at::MemoryFormat::ChannelsLast));
  compare_dropout("dropout, bfloat16, channels-last",
                  batch.to(at::kBFloat16, false, false, at::MemoryFormat::ChannelsLast));
  return 0;
}
