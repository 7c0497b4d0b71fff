#include "t_weight.h"

#include <algorithm>
#include <cmath>

namespace casdm::head_diffusion {

namespace {

/// The factor of |x0 - x0'|^2.
double x0_weight(const TimeWeightOptions& options, double snr) {
  if (options.t_weight == "snr") return snr;
  if (options.t_weight == "snr_plus_one") return snr + 1;
  if (options.t_weight == "truncated_snr") return std::max(snr, 1.0);
  if (options.t_weight == "min_snr") return std::min(snr, options.snr_gamma);
  return snr / std::pow(options.p2_k + snr, options.p2_gamma);
}

}  // namespace

std::vector<double> time_weights(const TimeWeightOptions& options, const NoiseScheduler& schedule,
                                 const std::string& prediction_type) {
  std::vector<double> weights;
  if (options.t_weight == "uniform") return weights;
  for (const double a : schedule.alphas_cumprod()) {
    const double snr = a / (1 - a);
    const double weight = x0_weight(options, snr);
    if (prediction_type == "epsilon") {
      weights.push_back(weight / snr);
    } else if (prediction_type == "sample") {
      weights.push_back(weight);
    } else {
      weights.push_back(weight / (snr + 1));
    }
  }
  return weights;
}

}  // namespace casdm::head_diffusion
