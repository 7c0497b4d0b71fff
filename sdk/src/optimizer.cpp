#include "casdm/optimizer.h"

#include "casdm/one_pass_optimizer.h"

#include <ATen/TensorOperators.h>

#include "casdm/text.h"

namespace casdm {

std::string_view to_string(ParameterRole role) {
  switch (role) {
    case ParameterRole::automatic:
      return "automatic";
    case ParameterRole::matrix:
      return "matrix";
    case ParameterRole::convolution:
      return "convolution";
    case ParameterRole::embedding:
      return "embedding";
    case ParameterRole::norm:
      return "norm";
    case ParameterRole::bias:
      return "bias";
    case ParameterRole::output:
      return "output";
  }
  return "";
}

ParameterRole role_by_shape(std::string_view name, at::IntArrayRef shape) {
  if (shape.size() > 2) return ParameterRole::convolution;
  if (shape.size() == 2) return ParameterRole::matrix;
  const std::string_view last = name.substr(name.rfind('.') + 1);
  return last.find("bias") == std::string_view::npos ? ParameterRole::norm : ParameterRole::bias;
}

Optimizer::~Optimizer() = default;
OnePassOptimizer::~OnePassOptimizer() = default;

NamedTensors named_views(const Optimizer::Spec& spec, const Tensor& flat, std::string_view prefix) {
  NamedTensors result;
  for (const OptimizedParameter& parameter : spec.parameters) {
    const Tensor& weight = parameter.weight;
    result.emplace_back(text(prefix, '.', parameter.name),
                        flat.narrow(0, parameter.offset, weight.numel()).view(weight.sizes()));
  }
  return result;
}

}  // namespace casdm
