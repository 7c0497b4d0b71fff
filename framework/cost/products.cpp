#include "framework/cost/products.h"

#include <ATen/core/Tensor.h>

#include <array>
#include <functional>
#include <numeric>

namespace casdm {

namespace {

using Inputs = c10::ArrayRef<const c10::IValue>;

std::int64_t product(c10::IntArrayRef sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{1}, std::multiplies<>());
}

/// One value for each of `count` dimensions; a list of one stands for all.
std::vector<std::int64_t> per_dimension(const c10::IValue& list, std::size_t count) {
  std::vector<std::int64_t> values = list.toIntVector();
  if (values.size() == 1) values.resize(count, values.front());
  return values;
}

/// Every element of the output, or, if transposed, of the input, meets the weights of one output channel.
/// @param transposed, output  as the operator has them
std::int64_t of_convolution(const at::Tensor& input, const at::Tensor& weight, bool transposed,
                            c10::IntArrayRef output) {
  return product(transposed ? input.sizes() : output) * product(weight.sizes().slice(1));
}

std::vector<std::int64_t> convolved_sizes(const at::Tensor& input, const at::Tensor& weight, const c10::IValue& strides,
                                          const c10::IValue& paddings, const c10::IValue& dilations) {
  const auto dimensions = static_cast<std::size_t>(weight.dim() - 2);
  const auto stride = per_dimension(strides, dimensions), padding = per_dimension(paddings, dimensions);
  const auto dilation = per_dimension(dilations, dimensions);
  std::vector<std::int64_t> sizes{input.size(0), weight.size(0)};
  for (std::size_t i = 0; i < dimensions; ++i) {
    const auto d = static_cast<std::int64_t>(i) + 2;
    sizes.push_back((input.size(d) + 2 * padding[i] - dilation[i] * (weight.size(d) - 1) - 1) / stride[i] + 1);
  }
  return sizes;
}

/// (input, weight, bias, stride, padding, dilation, transposed, ...)
std::int64_t convolution(Inputs in) {
  const at::Tensor &input = in[0].toTensor(), &weight = in[1].toTensor();
  if (in[6].toBool()) return of_convolution(input, weight, true, {});
  return of_convolution(input, weight, false, convolved_sizes(input, weight, in[3], in[4], in[5]));
}

/// (input, weight, bias, padding, stride, dilation, ...)
std::int64_t onednn_convolution(Inputs in) {
  const at::Tensor &input = in[0].toTensor(), &weight = in[1].toTensor();
  return of_convolution(input, weight, false, convolved_sizes(input, weight, in[4], in[3], in[5]));
}

/// (gradient, input, weight, bias_sizes, stride, padding, dilation, transposed, output_padding, groups, mask): the
/// gradients of input and weight cost as much as the convolution, each.
std::int64_t convolution_backward(Inputs in) {
  const auto wanted = in[10].toBoolList();
  const std::int64_t gradients = (wanted.get(0) ? 1 : 0) + (wanted.get(1) ? 1 : 0);
  return gradients * of_convolution(in[1].toTensor(), in[2].toTensor(), in[7].toBool(), in[0].toTensor().sizes());
}

/// a b, of [..., M, K] and [..., K, N] or [K].
std::int64_t matrices(const at::Tensor& a, const at::Tensor& b) {
  return a.numel() * (b.dim() > 1 ? b.sizes().back() : 1);
}

/// Q K^T and P V, of [..., L, D] and [..., S, D].
std::int64_t attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  return query.numel() * key.size(-2) + query.numel() / query.size(-1) * key.size(-2) * value.size(-1);
}

/// The kernels that do not keep P compute Q K^T again, then the gradients of V, P, Q and K.
std::int64_t attention_backward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value) {
  const std::int64_t by_key = query.numel() * key.size(-2);
  return 3 * by_key + 2 * (query.numel() / query.size(-1) * key.size(-2) * value.size(-1));
}

struct Formula {
  std::string_view name;
  std::int64_t (*count)(Inputs);
};

constexpr std::array kFormulas = {
    Formula{"aten::convolution", convolution},
    Formula{"aten::convolution_overrideable", convolution},
    Formula{"aten::mkldnn_convolution", onednn_convolution},
    Formula{"aten::convolution_backward", convolution_backward},
    Formula{"aten::mm", [](Inputs in) { return matrices(in[0].toTensor(), in[1].toTensor()); }},
    Formula{"aten::bmm", [](Inputs in) { return matrices(in[0].toTensor(), in[1].toTensor()); }},
    Formula{"aten::mv", [](Inputs in) { return matrices(in[0].toTensor(), in[1].toTensor()); }},
    Formula{"aten::addmm", [](Inputs in) { return matrices(in[1].toTensor(), in[2].toTensor()); }},
    Formula{"aten::addmv", [](Inputs in) { return matrices(in[1].toTensor(), in[2].toTensor()); }},
    Formula{"aten::baddbmm", [](Inputs in) { return matrices(in[1].toTensor(), in[2].toTensor()); }},
    Formula{"aten::addbmm", [](Inputs in) { return matrices(in[1].toTensor(), in[2].toTensor()); }},
    Formula{kOwnProducts, [](Inputs in) { return in[0].toInt(); }},
};

constexpr std::string_view kAttention = "aten::_scaled_dot_product_";

}  // namespace

std::optional<std::int64_t> multiply_adds(std::string_view name, Inputs inputs) {
  for (const Formula& formula : kFormulas) {
    if (formula.name == name) return formula.count(inputs);
  }
  // aten::_scaled_dot_product_attention_math is made of aten::bmm.
  if (!name.starts_with(kAttention) || name.starts_with("aten::_scaled_dot_product_attention_math")) return {};
  if (name.ends_with("_backward")) {
    return attention_backward(inputs[1].toTensor(), inputs[2].toTensor(), inputs[3].toTensor());
  }
  return attention(inputs[0].toTensor(), inputs[1].toTensor(), inputs[2].toTensor());
}

}  // namespace casdm
