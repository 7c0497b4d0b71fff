#include "framework/standin/tf32.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>

#include <map>
#include <string>
#include <vector>

namespace casdm::standin {

namespace {

/// The positions of the factors among an operator's arguments, and that of the number of groups; -1: there is none.
struct Product {
  std::vector<std::ptrdiff_t> factors;
  std::ptrdiff_t groups = -1;
};

const Product* product_of(const c10::OperatorHandle& op) {
  static const std::map<std::string, Product> products = {{"aten::mm", {{0, 1}}},
                                                          {"aten::bmm", {{0, 1}}},
                                                          {"aten::addmm", {{1, 2}}},
                                                          {"aten::baddbmm", {{1, 2}}},
                                                          {"aten::convolution", {{0, 1}, 8}},
                                                          {"aten::convolution_backward", {{0, 1, 2}, 9}}};
  const auto found = products.find(op.operator_name().name);
  return found == products.end() ? nullptr : &found->second;
}

/// To nearest, ties away from 0.
at::Tensor rounded(const at::Tensor& x) {
  constexpr std::int64_t kHalf = 1 << 12, kKept = ~((1 << 13) - 1);
  const at::Tensor bits = (x.view(at::kInt) + kHalf).bitwise_and(kKept);
  return at::where(x.isfinite(), bits.view(at::kFloat), x);
}

}  // namespace

bool computes_in_tf32(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  const Product* const product = product_of(op);
  if (product == nullptr) return false;
  const bool is_convolution = product->groups >= 0;
  const at::Float32Op kind = is_convolution ? at::Float32Op::CONV : at::Float32Op::MATMUL;
  if (at::globalContext().float32Precision(at::Float32Backend::CUDA, kind) != at::Float32Precision::TF32) return false;
  const auto first = stack.end() - static_cast<std::ptrdiff_t>(op.schema().arguments().size());
  // Depthwise convolutions have kernels without products of matrices.
  return !is_convolution || (first + product->groups)->toInt() == 1;
}

void round_to_tf32(const c10::OperatorHandle& op, torch::jit::Stack& stack) {
  const auto first = stack.end() - static_cast<std::ptrdiff_t>(op.schema().arguments().size());
  for (const std::ptrdiff_t factor : product_of(op)->factors) {
    c10::IValue& value = *(first + factor);
    if (value.isTensor() && value.toTensor().scalar_type() == at::kFloat) value = rounded(value.toTensor());
  }
}

}  // namespace casdm::standin
