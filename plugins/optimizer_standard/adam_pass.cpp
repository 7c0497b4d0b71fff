#include "adam_pass.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "casdm/block_kernel.h"
#include "casdm/on_device.h"
#include "casdm/parallel.h"
#include "casdm/text.h"

namespace casdm::optimizer_standard {

namespace {

/// The numbers that adam_rates takes, then what each average keeps.
std::vector<double> numbers_of(const AdamWOptions& options, const WholeStep& step) {
  std::vector<double> result = {step.learning_rate, options.betas[0], options.betas[1], options.eps,
                                options.weight_decay};
  for (const WeightAverage& average : step.averages) result.push_back(average.keep);
  return result;
}

// The square root need not set errno, or the compiler would not vectorise it.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("no-math-errno")
#define ADAM_INDEPENDENT _Pragma("GCC ivdep")
#else
#define ADAM_INDEPENDENT
#endif

#define ADAM_INLINE inline __attribute__((always_inline))
#define ADAM_SOURCE(...) __VA_ARGS__
#include "adam_element.inc"
#undef ADAM_SOURCE

constexpr std::int64_t kTaskLength = 1 << 15;
constexpr std::int64_t kCachedLength = 1024;  ///< elements whose new weights are still cached for the averages

/// The elements of one task.
struct AdamSlice {
  AdamRates rates;
  std::int64_t length;
  float *weights, *gradients, *exp_avg, *exp_avg_sq;
  std::vector<std::pair<float*, float>> averages;  ///< with the part that is replaced
};

ADAM_INLINE void adam_loops(const AdamSlice& slice) {
  const AdamRates rates = slice.rates;
  for (std::int64_t first = 0; first < slice.length; first += kCachedLength) {
    const std::int64_t count = std::min(kCachedLength, slice.length - first);
    float* __restrict weights = slice.weights + first;
    float* __restrict gradients = slice.gradients + first;
    float* __restrict moments = slice.exp_avg + first;
    float* __restrict squares = slice.exp_avg_sq + first;
    ADAM_INDEPENDENT
    for (std::int64_t i = 0; i < count; ++i) adam_element(rates, gradients[i], weights[i], moments[i], squares[i]);
    for (const auto& [values, part] : slice.averages) {
      float* __restrict average = values + first;
      ADAM_INDEPENDENT
      for (std::int64_t i = 0; i < count; ++i) average[i] = averaged(average[i], weights[i], part);
    }
  }
}

#if defined(__x86_64__)
const bool adam_has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
__attribute__((target("avx2,fma"))) void adam_loops_avx2(const AdamSlice& slice) { adam_loops(slice); }
#endif
void adam_loops_anywhere(const AdamSlice& slice) { adam_loops(slice); }

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif

void run_slice(const AdamSlice& slice) {
#if defined(__x86_64__)
  if (adam_has_avx2) return adam_loops_avx2(slice);
#endif
  adam_loops_anywhere(slice);
}

void pass_on_cpu(const AdamTensors& tensors, const std::vector<double>& numbers, bool is_decoupled,
                 const WholeStep& step) {
  const AdamRates rates = adam_rates(numbers.data(), step.scale.const_data_ptr<float>()[0],
                                     tensors.count.const_data_ptr<float>()[0], is_decoupled);
  if (std::isnan(rates.scale)) {
    tensors.gradients.zero_();
    return;
  }
  const std::int64_t length = tensors.weights.numel();
  run_parallel((length + kTaskLength - 1) / kTaskLength, [&](std::int64_t task) {
    const std::int64_t first = task * kTaskLength;
    const auto from_first = [&](const Tensor& tensor) { return tensor.mutable_data_ptr<float>() + first; };
    AdamSlice slice{rates,
                    std::min(kTaskLength, length - first),
                    from_first(tensors.weights),
                    from_first(tensors.gradients),
                    from_first(tensors.exp_avg),
                    from_first(tensors.exp_avg_sq),
                    {}};
    for (const WeightAverage& average : step.averages) {
      slice.averages.emplace_back(from_first(average.values), static_cast<float>(1 - average.keep));
    }
    run_slice(slice);
  });
}

#define ADAM_TEXT(...) #__VA_ARGS__
#define ADAM_SOURCE(...) ADAM_TEXT(__VA_ARGS__)
#undef ADAM_INLINE
#define ADAM_INLINE inline
constexpr const char* kAdamElement =
#include "adam_element.inc"
    ;
#undef ADAM_SOURCE
#undef ADAM_TEXT
#undef ADAM_INLINE

constexpr const char* kAdamPass =
#include "adam_device.inc"
    ;

constexpr std::size_t kFirstAverage = 7;  ///< of the kernel's tensors
constexpr std::int64_t kMostAdamBlocks = 1024;
constexpr std::int64_t kAdamThreads = 256;

void pass_on_device(const AdamTensors& tensors, const std::vector<double>& numbers, bool is_decoupled,
                    const WholeStep& step) {
  static const BlockKernel kernel{"adam_pass", text(kWeightPieces, kAdamElement, kAdamPass), /*phases=*/2};
  const std::int64_t length = tensors.weights.numel();
  BlockLaunch pass;
  pass.tensors = {tensors.weights,
                  tensors.gradients,
                  tensors.exp_avg,
                  tensors.exp_avg_sq,
                  tensors.count,
                  step.scale,
                  to_device(at::tensor(numbers, at::kDouble), tensors.weights.device())};
  for (const WeightAverage& average : step.averages) pass.tensors.push_back(average.values);
  pass.tensors.resize(kFirstAverage + OnePassOptimizer::kMostAverages);
  const Tensor& pieces = step.shadow.pieces;
  if (pieces.defined()) pass.tensors.insert(pass.tensors.end(), {step.shadow.values, pieces});
  pass.threads = kAdamThreads;
  pass.blocks = std::min(kMostAdamBlocks, (length + kAdamThreads - 1) / kAdamThreads);
  pass.numbers = {length, is_decoupled ? 1 : 0, static_cast<std::int64_t>(step.averages.size()), pass.blocks,
                  pieces.defined() ? pieces.size(0) : 0};
  pass.shared = static_cast<std::int64_t>(sizeof(AdamRates) / sizeof(float) + OnePassOptimizer::kMostAverages);
  launch(kernel, pass);
}

}  // namespace

bool has_adam_pass(c10::Device device) { return device.is_cpu() || takes_block_kernels(device); }

void adam_pass(const AdamTensors& tensors, const AdamWOptions& options, AdamMoments::Decay decay,
               const WholeStep& step) {
  const std::vector<double> numbers = numbers_of(options, step);
  const bool is_decoupled = decay == AdamMoments::Decay::decoupled;
  const auto pass = tensors.weights.is_cpu() ? pass_on_cpu : pass_on_device;
  pass(tensors, numbers, is_decoupled, step);
  // As an operator of LibTorch would.
  for (const Tensor& changed : {tensors.weights, tensors.gradients, tensors.exp_avg, tensors.exp_avg_sq}) {
    changed.unsafeGetTensorImpl()->bump_version();
  }
  for (const WeightAverage& average : step.averages) average.values.unsafeGetTensorImpl()->bump_version();
}

}  // namespace casdm::optimizer_standard
