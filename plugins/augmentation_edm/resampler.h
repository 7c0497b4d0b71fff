#pragma once

#include <ATen/core/Tensor.h>

#include "image_draw.h"

namespace casdm::augmentation_edm {

/// Moves images between their pixels without blur or aliasing (Karras et al. 2020, "Training GANs with Limited Data",
/// appendix B): mirror the borders, double the resolution with the wavelet filter sym6, sample bilinearly, halve it
/// with the same filter. The filter is orthogonal, so a shift by whole pixels is exact.
///
/// Mirroring, doubling and filtering along one axis are one matrix U; filtering, halving and cropping another, D:
///
///     image -> D sample(U image U^T) D^T
/// Not thread-safe.
class Resampler {
 public:
  explicit Resampler(std::int64_t image_size);

  /// @param image     [C, H, W], both equal to the image size
  /// @param geometry  see geometry_of
  /// @return          [C, H, W]; black beyond three times the image's size
  at::Tensor operator()(const at::Tensor& image, const Matrix3& geometry) const;

 private:
  at::Tensor grid(const Matrix3& geometry) const;

  std::int64_t padded_size_;  ///< including the mirrored borders
  at::Tensor up_;             ///< U, [2 padded_size, image size], float64 on the CPU
  at::Tensor down_;           ///< D, [image size, 2 (image size + 6)]

  /// U and D with the dtype and device of the last image.
  struct Near {
    at::Tensor up;
    at::Tensor down;
  };
  mutable Near near_;
};

}  // namespace casdm::augmentation_edm
