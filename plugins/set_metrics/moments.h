#pragma once

#include "casdm/set_metric.h"

namespace casdm::set_metrics {

/// Number, mean and scatter of vectors, in float64: handles to the tensors of a state, which are changed in place. The
/// scatter is the sum of (x - mean)(x - mean)^T, which avoids cancellation however far the mean is from 0; two sets are
/// combined as in Chan et al. 1979.
struct Moments {
  Tensor count;    ///< []
  Tensor mean;     ///< [D]
  Tensor scatter;  ///< [D, D]

  /// The moments of no vectors, as tensors of a state.
  static NamedTensors none(std::int64_t dimension);
  explicit Moments(const NamedTensors& state);
  explicit Moments(const Tensor& rows);

  /// @param rows  [B, D]
  void add(const Tensor& rows);
  void add(const Moments& other);

  /// [D, D], over count - 1.
  Tensor covariance() const;
};

/// The parameters of a Gaussian that the Frechet distance needs.
struct Gaussian {
  Tensor mean;     ///< [D]
  Tensor factor;   ///< V, [D, r], with V V^T the covariance; directions with no variance beyond rounding are left out
  double trace{};  ///< of the covariance

  explicit Gaussian(const Moments& moments);
};

/// |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), the squared Frechet distance of two Gaussians (Dowson & Landau 1982).
/// With S = V V^T from the eigenvalues of S, the trace of the root is the sum of the singular values of V1^T V2. This
/// takes no root of values that should be 0, so covariances without full rank are exact up to rounding.
double frechet_distance(const Gaussian& a, const Gaussian& b);

}  // namespace casdm::set_metrics
