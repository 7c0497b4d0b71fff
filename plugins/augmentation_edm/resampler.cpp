#include "resampler.h"

#include <ATen/ATen.h>

#include "like.h"
#include "mirrored.h"

namespace casdm::augmentation_edm {

namespace {

/// The low-pass filter of sym6, the least asymmetric wavelet with six vanishing moments (Daubechies 1992).
constexpr double kSym6[] = {0.015404109327027373,  0.0034907120842174702, -0.11799011114819057,  -0.048311742585633,
                            0.4910559419267466,    0.787641141030194,     0.3379294217276218,    -0.07263752278646252,
                            -0.021060292512300564, 0.04472490177066578,   0.0017677118642428036, -0.007800708325034148};
constexpr std::int64_t kTaps = std::size(kSym6);
/// Pixels around the image that the second filter touches.
constexpr std::int64_t kReach = kTaps / 4;

/// Row m: the weight of each pixel in sample m at twice the resolution.
at::Tensor doubling_matrix(std::int64_t size, std::int64_t padded_size) {
  const at::Tensor matrix = at::zeros({2 * padded_size, size}, at::kDouble);
  auto entry = matrix.accessor<double, 2>();
  for (std::int64_t k = 0; k < padded_size; ++k) {
    for (std::int64_t tap = 0; tap < kTaps; ++tap) {
      const std::int64_t m = 2 * k + tap - (kTaps / 2 - 1);
      if (m >= 0 && m < 2 * padded_size) entry[m][mirrored(k - (size - 1), size)] += kSym6[tap];
    }
  }
  return matrix;
}

at::Tensor halving_matrix(std::int64_t size) {
  const at::Tensor matrix = at::zeros({size, 2 * (size + 2 * kReach)}, at::kDouble);
  auto entry = matrix.accessor<double, 2>();
  for (std::int64_t pixel = 0; pixel < size; ++pixel) {
    for (std::int64_t tap = 0; tap < kTaps; ++tap) entry[pixel][2 * pixel + 1 + tap] = kSym6[tap];
  }
  return matrix;
}

}  // namespace

Resampler::Resampler(std::int64_t image_size)
    : padded_size_(3 * image_size - 2),
      up_(doubling_matrix(image_size, padded_size_)),
      down_(halving_matrix(image_size)) {}

at::Tensor Resampler::grid(const Matrix3& geometry) const {
  const std::int64_t count = down_.size(1);
  // Positions in pixels from the centre; a pixel corresponds to the first of its two doubled samples, which lies a
  // quarter of a pixel to its left.
  const at::Tensor place = (at::arange(count, at::kDouble) - static_cast<double>(count - 1) / 2) / 2 + 0.25;
  const at::Tensor x = place.unsqueeze(0);
  const at::Tensor y = place.unsqueeze(1);
  std::vector<at::Tensor> source;
  for (const auto& row : {geometry[0], geometry[1]}) source.push_back(2 * (row[0] * x + row[1] * y + row[2]) - 0.5);
  return at::stack(source, -1).unsqueeze(0) / static_cast<double>(padded_size_);
}

at::Tensor Resampler::operator()(const at::Tensor& image, const Matrix3& geometry) const {
  if (!near_.up.defined() || near_.up.device() != image.device() || near_.up.dtype() != image.dtype()) {
    near_ = {like(up_, image), like(down_, image)};
  }
  const at::Tensor doubled = at::matmul(at::matmul(near_.up, image), near_.up.t()).unsqueeze(0);
  const at::Tensor sampled = at::grid_sampler_2d(doubled, like(grid(geometry), image), /*bilinear*/ 0,
                                                 /*zeros beyond*/ 0, /*align_corners=*/false);
  return at::matmul(at::matmul(near_.down, sampled.squeeze(0)), near_.down.t());
}

}  // namespace casdm::augmentation_edm
