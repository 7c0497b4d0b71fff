#pragma once

#include <vector>

#include "framework/training/power_function.h"

namespace casdm {

/// The weighting of a power-function average (Karras et al. 2024, "Analyzing and Improving the Training Dynamics of
/// Diffusion Models", section 3.1): at training length `end` it weights each moment s <= end by
///
///     p(s) = (gamma + 1) s^gamma / end^(gamma + 1).
///
/// Its width sigma_rel, the standard deviation of p as a fraction of `end`, is the same at every length.
struct PowerProfile {
  double gamma = 0;
  double end = 0;  ///< in images (or any one unit), > 0
};

/// Integral of p_a p_b over all moments.
double inner_product(const PowerProfile& a, const PowerProfile& b);

/// Post-hoc reconstruction (appendix C): the combination of averages with the profiles `from` that is closest to one
/// with the profile `to`, in the integral of squares.
struct Combination {
  std::vector<double> coefficients;  ///< one per profile; they add up to 1
  double error = 0;                  ///< |combined profile - to| / |to|, in the same norm
};

/// Throws Error when `from` is empty.
Combination combine(const std::vector<PowerProfile>& from, const PowerProfile& to);

}  // namespace casdm
