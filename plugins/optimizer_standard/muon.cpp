#include "muon.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "casdm/text.h"

namespace casdm::optimizer_standard {

namespace {

// The coefficients of x -> a x + b x^3 + c x^5, applied to the singular values, maximise the slope at 0.
constexpr double kA = 3.4445;
constexpr double kB = -4.7750;
constexpr double kC = 2.0315;
constexpr double kEps = 1e-7;  // smallest norm by which a matrix is divided

bool is_matrix(const OptimizedParameter& parameter) {
  const bool is_inner = parameter.role == ParameterRole::matrix || parameter.role == ParameterRole::convolution;
  return is_inner && parameter.weight.dim() >= 2;
}

std::vector<OptimizedParameter> others(const Optimizer::Spec& spec) {
  std::vector<OptimizedParameter> result;
  std::copy_if(spec.parameters.begin(), spec.parameters.end(), std::back_inserter(result),
               [](const OptimizedParameter& parameter) { return !is_matrix(parameter); });
  return result;
}

std::vector<Tensor> tensors(const std::vector<OptimizedParameter>& parameters, Tensor OptimizedParameter::*tensor) {
  std::vector<Tensor> result;
  for (const OptimizedParameter& parameter : parameters) result.push_back(parameter.*tensor);
  return result;
}

at::ScalarType precision_of(MuonPrecision asked, const Tensor& weights) {
  const bool is_half = asked == MuonPrecision::bf16 || (asked == MuonPrecision::automatic && weights.is_cuda());
  return is_half ? at::kBFloat16 : at::kFloat;
}

}  // namespace

void MuonOptions::describe(Schema<MuonOptions>& s) {
  s.option("momentum", &MuonOptions::momentum, "How much of the momentum is kept at a step.").at_least(0).less_than(1);
  s.option("nesterov", &MuonOptions::nesterov, "Orthogonalise the momentum after the coming update (Nesterov).");
  s.option("weight_decay", &MuonOptions::weight_decay, "Decoupled weight decay of matrices and convolutions.")
      .at_least(0);
  s.option("iterations", &MuonOptions::iterations, "Newton-Schulz iterations of the orthogonalisation.").range(1, 99);
  s.option("scale", &MuonOptions::scale,
           "Size of a step of an m x n matrix: `match_rms_adamw` 0.2 sqrt(max(m, n)), for AdamW's learning rates (Liu "
           "et al. "
           "2025); `original` sqrt(max(1, m / n)), for rates about 0.02.");
  s.option("precision", &MuonOptions::precision,
           "Arithmetic of the orthogonalisation; `auto`: bf16 on CUDA, else fp32.");
  s.option("adamw_rate", &MuonOptions::adamw_rate,
           "AdamW's learning rate as a multiple of `learning_rate`, for all but matrices and convolutions.")
      .greater_than(0);
  s.option("adamw_betas", &MuonOptions::adamw_betas, "Decay rates of AdamW's two moments.").at_least(0).less_than(1);
  s.option("adamw_eps", &MuonOptions::adamw_eps, "AdamW's term for numerical stability.").greater_than(0);
  s.option("adamw_weight_decay", &MuonOptions::adamw_weight_decay, "AdamW's decoupled weight decay.").at_least(0);
}

Tensor orthogonalised(const Tensor& matrix, std::int64_t iterations, at::ScalarType precision) {
  const bool is_tall = matrix.size(0) > matrix.size(1);
  Tensor x = matrix.to(precision);
  if (is_tall) x = x.t();
  x = x / x.norm().clamp_min(kEps);  // after dividing by the Frobenius norm, no singular value exceeds 1
  for (std::int64_t i = 0; i < iterations; ++i) {
    const Tensor gram = x.mm(x.t());
    const Tensor polynomial = at::addmm(gram, gram, gram, kB, kC);
    x = at::addmm(x, polynomial, x, kA);
  }
  return is_tall ? x.t() : x;
}

Muon::Muon(const MuonOptions& options, const Spec& spec)
    : options_(options),
      precision_(precision_of(options.precision, spec.weights)),
      others_(others(spec)),
      moments_(tensors(others_, &OptimizedParameter::weight), tensors(others_, &OptimizedParameter::gradient),
               AdamMoments::Decay::decoupled) {
  for (const OptimizedParameter& parameter : spec.parameters) {
    if (is_matrix(parameter)) matrices_.push_back({parameter, at::zeros_like(parameter.weight)});
  }
}

double Muon::scale(const Tensor& matrix) const {
  const auto m = static_cast<double>(matrix.size(0));
  const auto n = static_cast<double>(matrix.size(1));
  return options_.scale == MuonScale::original ? std::sqrt(std::max(1.0, m / n)) : 0.2 * std::sqrt(std::max(m, n));
}

void Muon::step(const Matrix& matrix, double learning_rate) const {
  const auto& [parameter, momentum] = matrix;
  const Tensor& gradient = parameter.gradient;
  momentum.lerp_(gradient, 1 - options_.momentum);
  const Tensor direction = options_.nesterov ? gradient.lerp(momentum, options_.momentum) : momentum;
  const Tensor update = orthogonalised(direction.flatten(1), options_.iterations, precision_);
  const Tensor& weight = parameter.weight;
  weight.mul_(1 - learning_rate * options_.weight_decay);
  weight.sub_(update.to(at::kFloat).reshape(weight.sizes()), learning_rate * scale(update));
}

void Muon::step(const OptimizerStep& step) {
  for (const Matrix& matrix : matrices_) this->step(matrix, step.learning_rate);
  moments_.step({options_.adamw_betas, options_.adamw_eps, options_.adamw_weight_decay},
                step.learning_rate * options_.adamw_rate);
}

NamedTensors Muon::buffers() const {
  NamedTensors result;
  for (const auto& [parameter, momentum] : matrices_) result.emplace_back("momentum." + parameter.name, momentum);
  for (std::size_t i = 0; i < others_.size(); ++i) {
    result.emplace_back("exp_avg." + others_[i].name, moments_.exp_avg()[i]);
    result.emplace_back("exp_avg_sq." + others_[i].name, moments_.exp_avg_sq()[i]);
  }
  if (!others_.empty()) result.emplace_back("step", moments_.count());
  return result;
}

}  // namespace casdm::optimizer_standard
