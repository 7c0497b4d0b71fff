#include "framework/training/power_function.h"

#include <algorithm>
#include <cmath>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

double sigma_rel_of(double gamma) { return std::sqrt((gamma + 1) / (gamma + 3)) / (gamma + 2); }

double gamma_of(double sigma_rel) {
  if (!(sigma_rel >= kSmallestSigmaRel && sigma_rel <= kLargestSigmaRel)) {
    throw ConfigError(text("sigma_rel = ", number(sigma_rel), ": expected ", number(kSmallestSigmaRel),
                           " <= sigma_rel <= ", number(kLargestSigmaRel),
                           " (the uniform average); 0.05 to 0.15 are usual"));
  }
  const double inverse = 1 / (sigma_rel * sigma_rel);
  // Newton's method from 1 / sigma_rel falls to the largest root: there the cubic is positive, rising and convex.
  double gamma = 1 / sigma_rel;
  for (int i = 0; i < 100; ++i) {
    const double value = ((gamma + 7) * gamma + 16 - inverse) * gamma + 12 - inverse;
    const double step = value / ((3 * gamma + 14) * gamma + 16 - inverse);
    gamma -= step;
    if (std::abs(step) <= 1e-15 * (1 + gamma)) break;
  }
  return std::max(gamma, 0.0);
}

}  // namespace casdm
