#include "moments.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "state.h"

namespace casdm::set_metrics {

NamedTensors Moments::none(std::int64_t dimension) {
  return {{"count", at::zeros({}, at::kDouble)},
          {"mean", at::zeros({dimension}, at::kDouble)},
          {"scatter", at::zeros({dimension, dimension}, at::kDouble)}};
}

Moments::Moments(const NamedTensors& state)
    : count(tensor_of(state, "count")), mean(tensor_of(state, "mean")), scatter(tensor_of(state, "scatter")) {}

Moments::Moments(const Tensor& rows) : Moments(none(rows.size(1))) { add(rows); }

void Moments::add(const Tensor& rows) {
  if (rows.size(0) == 0) return;
  const Tensor x = rows.to(at::kCPU, at::kDouble);
  const double before = count.item<double>(), added = static_cast<double>(x.size(0));
  const Tensor centre = x.mean(0);
  const Tensor shift = centre - mean;
  // The shift of the mean is added as one more row, so that the scatter is read and written only once.
  const double weight = std::sqrt(before * added / (before + added));
  const Tensor centred = at::cat({x - centre, weight * shift.unsqueeze(0)});
  scatter.addmm_(centred.t(), centred);
  mean.add_(shift, added / (before + added));
  count.add_(added);
}

void Moments::add(const Moments& other) {
  const double before = count.item<double>(), added = other.count.item<double>();
  if (added == 0) return;
  const Tensor shift = other.mean - mean;
  scatter.add_(other.scatter).addr_(shift, shift, 1, before * added / (before + added));
  mean.add_(shift, added / (before + added));
  count.add_(added);
}

Tensor Moments::covariance() const { return scatter / (count - 1); }

Gaussian::Gaussian(const Moments& moments) : mean(moments.mean) {
  const Tensor covariance = moments.covariance();
  trace = covariance.trace().item<double>();
  const auto [values, vectors] = at::linalg_eigh(covariance);
  const double rounding = static_cast<double>(values.size(0)) * std::numeric_limits<double>::epsilon();
  const Tensor kept = (values > rounding * values.max()).nonzero().flatten();
  factor = vectors.index_select(1, kept) * values.index_select(0, kept).sqrt();
}

double frechet_distance(const Gaussian& a, const Gaussian& b) {
  const double means = (a.mean - b.mean).square().sum().item<double>();
  const double root = at::linalg_svdvals(a.factor.t().mm(b.factor)).sum().item<double>();
  return std::max(0.0, means + a.trace + b.trace - 2 * root);
}

}  // namespace casdm::set_metrics
