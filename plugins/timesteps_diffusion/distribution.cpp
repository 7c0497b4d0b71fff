#include "distribution.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::timesteps_diffusion {

Distribution::Distribution(std::vector<double> probabilities) : probabilities_(std::move(probabilities)) {
  const double total = std::accumulate(probabilities_.begin(), probabilities_.end(), 0.0);
  if (!std::isfinite(total) || total <= 0) {
    throw Error(text("the probabilities of the timesteps sum to ", number(total), "; expected a positive number"));
  }
  for (double& probability : probabilities_) probability /= total;
  sums_.resize(probabilities_.size());
  std::partial_sum(probabilities_.begin(), probabilities_.end(), sums_.begin());
}

std::int64_t Distribution::at(double u) const {
  // Because of rounding, the last sum may not be exactly 1; scaling u by it keeps every draw in range.
  const auto found = std::upper_bound(sums_.begin(), sums_.end(), u * sums_.back());
  auto t = static_cast<std::size_t>(std::min<std::ptrdiff_t>(found - sums_.begin(), std::ssize(sums_) - 1));
  while (probabilities_[t] == 0) --t;
  return static_cast<std::int64_t>(t);
}

TimestepDraw Distribution::draw(const std::vector<double>& u, bool is_importance_weighted) const {
  TimestepDraw draw;
  for (const double number : u) {
    const std::int64_t t = at(number);
    draw.t.push_back(static_cast<double>(t));
    draw.weight.push_back(is_importance_weighted ? 1 / (static_cast<double>(probabilities_.size()) * probability(t))
                                                 : 1);
  }
  return draw;
}

TimestepDraw uniform_draw(const std::vector<double>& u, const TimeRange& times) {
  TimestepDraw draw;
  draw.weight.assign(u.size(), 1);
  const double length = times.last - times.first + (times.is_whole ? 1 : 0);
  for (const double number : u) {
    const double t = times.first + number * length;
    draw.t.push_back(times.is_whole ? std::min(std::floor(t), times.last) : t);
  }
  return draw;
}

}  // namespace casdm::timesteps_diffusion
