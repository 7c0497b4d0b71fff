#include <ATen/ATen.h>
#include <ATen/SDPBackend.h>
#include <ATen/native/transformers/attention.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

#include "framework/standin/counts.h"
#include "framework/standin/on_host.h"

// Attention in bf16 and fp16 is one operator on CUDA in each direction, as on the CPU, but under another name. It
// launches one kernel forward (of few blocks it may split the keys, and add a second one) and three backward: products
// of output and gradient, gradients, and the conversion of the query's.
namespace casdm::standin {

namespace {

using at::Tensor;

constexpr const char* kAttention = "aten::_scaled_dot_product_flash_attention";
constexpr const char* kAttentionBackward = "aten::_scaled_dot_product_flash_attention_backward";
constexpr int kBackwardKernels = 3;

/// The CPU's kernels refuse some of the strides that CUDA's take.
Tensor in_order(OnHost& on_host, const Tensor& x) { return on_host.argument(x).contiguous(); }

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
  const auto [output, sums] = at::_scaled_dot_product_flash_attention_for_cpu(
      in_order(on_host, query), in_order(on_host, key), in_order(on_host, value), dropout, is_causal, std::nullopt,
      scale);
  return {on_host.result(output), on_host.result(sums), {}, {}, query.size(2), key.size(2), {}, {}, {}};
}

std::tuple<Tensor, Tensor, Tensor> attention_backward(const Tensor& grad, const Tensor& query, const Tensor& key,
                                                      const Tensor& value, const Tensor& output, const Tensor& sums,
                                                      const Tensor&, const Tensor&, c10::SymInt, c10::SymInt,
                                                      double dropout, bool is_causal, const Tensor&, const Tensor&,
                                                      std::optional<double> scale) {
  for (int kernel = 0; kernel < kBackwardKernels; ++kernel) count_launch(kAttentionBackward);
  OnHost on_host(kAttentionBackward);
  const KernelsOnly kernels;
  const auto [of_query, of_key, of_value] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      in_order(on_host, grad), in_order(on_host, query), in_order(on_host, key), in_order(on_host, value),
      in_order(on_host, output), in_order(on_host, sums), dropout, is_causal, std::nullopt, scale);
  return {on_host.result(of_query), on_host.result(of_key), on_host.result(of_value)};
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
