#include "ssim_window.h"

#include <ATen/ATen.h>

#include <limits>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::metric_ssim {
namespace {

/// [size - k + 1, size]: row i contains the window starting at column i. A matrix product with it filters along an
/// axis, an order of magnitude faster than a single-channel convolution, backward too.
Tensor sliding(const Tensor& window, std::int64_t size) {
  const std::int64_t rows = size - window.size(0) + 1;
  // One column more than needed, so that each row starts one position later than the row before.
  return at::constant_pad_nd(window, {0, rows}).repeat({rows}).narrow(0, 0, rows * size).view({rows, size});
}

/// Each plane of [B, C, H, W] filtered along both axes, without padding.
Tensor filter(const Tensor& images, const Tensor& window) {
  const Tensor taps = window.to(images.scalar_type());
  return at::matmul(sliding(taps, images.size(2)), at::matmul(images, sliding(taps, images.size(3)).t()));
}

}  // namespace

Tensor gaussian(std::int64_t size, double sigma) {
  const Tensor position = at::arange(size, at::kDouble) - static_cast<double>(size - 1) / 2;
  const Tensor weight = (position.square() / (-2 * sigma * sigma)).exp();
  const Tensor sum = weight.sum();
  if (sum.item<double>() < std::numeric_limits<double>::min()) {
    throw ConfigError(text("kernel_sigma = ", number(sigma), " is too small for a window of ", size,
                           " pixels without a centre: all its weights are 0; 1.5 is usual"));
  }
  return (weight / sum).to(at::kFloat);
}

Moments moments(const Tensor& images, const Tensor& window) {
  Moments result;
  // Detached: variances do not depend on the centre, and it is added back to means.
  result.centre = images.detach().mean({2, 3}, /*keepdim=*/true);
  result.centred = images - result.centre;
  const Tensor both = filter(at::cat({result.centred, result.centred.square()}), window);
  result.mean = both.narrow(0, 0, images.size(0));
  result.variance = (both.narrow(0, images.size(0), images.size(0)) - result.mean.square()).clamp_min(0);
  return result;
}

Tensor covariance(const Moments& x, const Moments& y, const Tensor& window) {
  return filter(x.centred * y.centred, window) - x.mean * y.mean;
}

Similarity similarity(const Moments& x, const Moments& y, const Tensor& window, const Stabilisers& stabilisers) {
  const Tensor mean_x = x.mean + x.centre, mean_y = y.mean + y.centre;
  const Tensor luminance =
      (2 * mean_x * mean_y + stabilisers.luminance) / (mean_x.square() + mean_y.square() + stabilisers.luminance);
  const Tensor contrast_structure =
      (2 * covariance(x, y, window) + stabilisers.contrast) / (x.variance + y.variance + stabilisers.contrast);
  return {(luminance * contrast_structure).mean({2, 3}), contrast_structure.mean({2, 3})};
}

}  // namespace casdm::metric_ssim
