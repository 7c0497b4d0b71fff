#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace casdm::set_metrics {

using at::Tensor;

/// k(x_i, y_j) in float64, [a, b], for rows x [a, D] and y [b, D].
using Kernel = std::function<Tensor(const Tensor& x, const Tensor& y)>;

/// (x.y / D + 1)^3
Kernel polynomial_kernel();

/// exp(-|x - y|^2 / (2 bandwidth^2))
Kernel gaussian_kernel(double bandwidth);

/// An estimate of the squared maximum mean discrepancy of two sets (Gretton et al. 2012, JMLR 13).
struct Discrepancy {
  double value = 0;
  /// Variances over the images of each set of 2 h(x), h(x) = E k(x, x') - E k(x, y): divided by the number of images,
  /// they give the variance of the value.
  double generated_variance = 0, reference_variance = 0;
  /// Sum of the kernel over all pairs of different images.
  double similarity = 0;
};

/// @param x,           y [n, D] and [m, D], at least 2 rows each
/// @param is_unbiased  leave out k(x, x) of each image with itself (equation 3); else the mean over all pairs (equation
///                     5)
Discrepancy discrepancy(const Kernel& kernel, const Tensor& x, const Tensor& y, bool is_unbiased);

}  // namespace casdm::set_metrics
