#include <ATen/ATen.h>
#include <ATen/SDPBackend.h>
#include <ATen/native/transformers/attention.h>
#include <torch/library.h>

#include <optional>
#include <tuple>
#include <vector>

#include "framework/standin/counts.h"
#include "framework/standin/on_host.h"
#include "framework/standin/recorder.h"

// Attention in bf16 and fp16 is one operator on CUDA in each direction, as on the CPU, but under another name. It
// launches one kernel forward (of few blocks it may split the keys, and add a second one) and three backward: products
// of output and gradient, gradients, and the conversion of the query's.
// The CPU's kernels refuse some of the strides that CUDA's take, and so get contiguous tensors.
namespace casdm::standin {

namespace {

using at::Tensor;

constexpr const char* kAttention = "aten::_scaled_dot_product_flash_attention";
constexpr const char* kAttentionBackward = "aten::_scaled_dot_product_flash_attention_backward";
constexpr int kBackwardKernels = 3;

std::int64_t attention_kernel(const Tensor& query, const Tensor&, const Tensor&, const std::optional<Tensor>& mask,
                              double, bool, std::optional<double>, bool) {
  const bool is_half = query.scalar_type() == at::kBFloat16 || query.scalar_type() == at::kHalf;
  return static_cast<std::int64_t>(is_half && !mask.has_value() ? at::SDPBackend::flash_attention
                                                                : at::SDPBackend::math);
}

/// Output, logarithms of the sums of exponentials, and what CUDA needs for sequences of several lengths and dropout.
using Attended = std::tuple<Tensor, Tensor, Tensor, Tensor, c10::SymInt, c10::SymInt, Tensor, Tensor, Tensor>;

Attended attention(const Tensor& query, const Tensor& key, const Tensor& value, double dropout, bool is_causal, bool,
                   std::optional<double> scale) {
  count_launch(kAttention);
  OnHost on_host(kAttention);
  const KernelsOnly kernels;
  const std::vector<Tensor> results = recorded(
      [q = on_host.argument(query), k = on_host.argument(key), v = on_host.argument(value), dropout, is_causal, scale] {
        const auto [output, sums] = at::_scaled_dot_product_flash_attention_for_cpu(
            q.contiguous(), k.contiguous(), v.contiguous(), dropout, is_causal, std::nullopt, scale);
        return std::vector<Tensor>{output, sums};
      });
  return {on_host.result(results[0]), on_host.result(results[1]), {}, {}, query.size(2), key.size(2), {}, {}, {}};
}

std::tuple<Tensor, Tensor, Tensor> attention_backward(const Tensor& grad, const Tensor& query, const Tensor& key,
                                                      const Tensor& value, const Tensor& output, const Tensor& sums,
                                                      const Tensor&, const Tensor&, c10::SymInt, c10::SymInt,
                                                      double dropout, bool is_causal, const Tensor&, const Tensor&,
                                                      std::optional<double> scale) {
  for (int kernel = 0; kernel < kBackwardKernels; ++kernel) count_launch(kAttentionBackward);
  OnHost on_host(kAttentionBackward);
  const KernelsOnly kernels;
  std::vector<Tensor> given;
  for (const Tensor& tensor : {grad, query, key, value, output, sums}) given.push_back(on_host.argument(tensor));
  const std::vector<Tensor> results = recorded([given, dropout, is_causal, scale] {
    const auto in_order = [&](std::size_t i) { return given[i].contiguous(); };
    const auto [of_query, of_key, of_value] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
        in_order(0), in_order(1), in_order(2), in_order(3), in_order(4), in_order(5), dropout, is_causal, std::nullopt,
        scale);
    return std::vector<Tensor>{of_query, of_key, of_value};
  });
  return {on_host.result(results[0]), on_host.result(results[1]), on_host.result(results[2])};
}

const bool has_attention_kernel = [] {
  at::native::_fused_sdp_choice_stub.set_cuda_dispatch_ptr(&attention_kernel);
  return true;
}();

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("_scaled_dot_product_flash_attention", &attention);
  library.impl("_scaled_dot_product_flash_attention_backward", &attention_backward);
}

}  // namespace

}  // namespace casdm::standin
