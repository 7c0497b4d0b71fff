#include "t_weight.h"

#include <ATen/ATen.h>

namespace casdm::head_diffusion {

using at::Tensor;

namespace {

/// The factor of |x0 - x0'|^2.
Tensor x0_weight(const TimeWeightOptions& options, const Tensor& snr) {
  if (options.t_weight == "snr") return snr;
  if (options.t_weight == "snr_plus_one") return snr + 1;
  if (options.t_weight == "truncated_snr") return snr.clamp_min(1);
  if (options.t_weight == "min_snr") return snr.clamp_max(options.snr_gamma);
  return snr / (options.p2_k + snr).pow(options.p2_gamma);
}

}  // namespace

Tensor time_weight(const TimeWeightOptions& options, const Tensor& log_snr, const std::string& prediction_type) {
  const Tensor snr = log_snr.exp();
  const Tensor weight = x0_weight(options, snr);
  if (prediction_type == "epsilon") return weight / snr;
  if (prediction_type == "sample") return weight;
  return weight / (snr + 1);
}

}  // namespace casdm::head_diffusion
