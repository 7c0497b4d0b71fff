#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace casdm {

/// The mean of independent values, and how certain it is.
struct MeanEstimate {
  std::size_t count = 0;
  double mean = 0;                   ///< 0 if there are no values
  std::optional<double> half_width;  ///< the interval is mean -+ half_width; nothing for fewer than two values

  double low() const { return mean - half_width.value_or(0); }
  double high() const { return mean + half_width.value_or(0); }

  /// Whether there is an interval and it does not contain 0.
  bool excludes_zero() const { return half_width && (low() > 0 || high() < 0); }
};

/// For the intervals in every table: in 100 comparisons without any effect, 5 exclude 0.
inline constexpr double kConfidence = 0.95;

/// The quantile of Student's t distribution: P(T <= result) = `probability`, in (0, 1); `degrees` of freedom > 0.
double student_t_quantile(double probability, double degrees);

/// Mean and two-sided interval mean -+ t s / sqrt(n), with s the standard deviation of n - 1 degrees of freedom and t
/// the quantile of Student's distribution (Student 1908): exact for normal values, whatever their number.
/// @param values  all finite
MeanEstimate estimate_mean(const std::vector<double>& values, double confidence = kConfidence);

}  // namespace casdm
