#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace casdm::metric_ssim {

using at::Tensor;

/// Normalised Gaussian of `size` taps, float32 [size].
Tensor gaussian(std::int64_t size, double sigma);

/// Local statistics of an image in a Gaussian window, at every place where the window fits (no padding).
struct Moments {
  Tensor centred;   ///< the image minus its mean, [B, C, H, W]
  Tensor centre;    ///< that mean, [B, C, 1, 1]
  Tensor mean;      ///< of the centred image in the window, [B, C, H-k+1, W-k+1]
  Tensor variance;  ///< in the window, population form, never negative
};

/// Variances are computed from the centred image: E[x^2] - E[x]^2 loses all digits if the mean is large, as it is for
/// predictions at high noise levels.
Moments moments(const Tensor& images, const Tensor& window);

Tensor covariance(const Moments& x, const Moments& y, const Tensor& window);

/// The constants (k1 L)^2 and (k2 L)^2 of SSIM, L the data range.
struct Stabilisers {
  double luminance = 0;
  double contrast = 0;
};

/// SSIM and its contrast-structure factor, averaged over places: [B, C] each.
struct Similarity {
  Tensor ssim;
  Tensor contrast_structure;
};

Similarity similarity(const Moments& x, const Moments& y, const Tensor& window, const Stabilisers& stabilisers);

}  // namespace casdm::metric_ssim
