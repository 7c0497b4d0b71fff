#include "framework/comparison/statistics.h"

#include <boost/math/distributions/students_t.hpp>
#include <cmath>

namespace casdm {

double student_t_quantile(double probability, double degrees) {
  return boost::math::quantile(boost::math::students_t(degrees), probability);
}

MeanEstimate estimate_mean(const std::vector<double>& values, double confidence) {
  MeanEstimate result;
  result.count = values.size();
  if (values.empty()) return result;
  const auto n = static_cast<double>(values.size());
  // Deviations from the first value are summed, so that equal values have exactly that mean and zero width.
  double sum = 0;
  for (const double value : values) sum += value - values.front();
  result.mean = values.front() + sum / n;
  if (values.size() < 2) return result;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  result.half_width = student_t_quantile((1 + confidence) / 2, n - 1) * std::sqrt(squares / (n - 1) / n);
  return result;
}

}  // namespace casdm
