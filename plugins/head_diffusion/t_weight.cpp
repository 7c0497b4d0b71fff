#include "t_weight.h"

#include <ATen/ATen.h>

namespace casdm::head_diffusion {

using at::Tensor;

namespace {

/// The weight of |x0 - x0'|^2.
Tensor x0_weight(const TimeWeightOptions& options, const Tensor& snr) {
  switch (options.t_weight) {
    case TimeWeight::uniform:
    case TimeWeight::snr:
      return snr;
    case TimeWeight::snr_plus_one:
      return snr + 1;
    case TimeWeight::truncated_snr:
      return snr.clamp_min(1);
    case TimeWeight::min_snr:
      return snr.clamp_max(options.snr_gamma);
    case TimeWeight::p2:
      break;
  }
  return snr / (options.p2_k + snr).pow(options.p2_gamma);
}

}  // namespace

Tensor error_factor(Prediction compared, const Tensor& alpha, const Tensor& sigma) {
  switch (compared) {
    case Prediction::epsilon:
      return (alpha / sigma).square();
    case Prediction::sample:
      return at::ones_like(alpha);
    case Prediction::v:
      return ((alpha.square() + sigma.square()) / sigma).square();
    case Prediction::flow:
      break;
  }
  return ((alpha + sigma) / sigma).square();
}

Tensor time_weight(const TimeWeightOptions& options, const Tensor& alpha, const Tensor& sigma, Prediction predicted) {
  return x0_weight(options, (alpha / sigma).square()) / error_factor(predicted, alpha, sigma);
}

}  // namespace casdm::head_diffusion
