#pragma once

#include <cstdint>
#include <vector>

#include "casdm/timestep_sampler.h"

namespace casdm::timesteps_diffusion {

/// Probabilities of the timesteps 0..T-1, from which draws are made by inverting their cumulative sums.
class Distribution {
 public:
  /// @param probabilities  each at least 0; they need not sum to 1
  /// Throws Error if their sum is not positive and finite.
  explicit Distribution(std::vector<double> probabilities);

  double probability(std::int64_t t) const { return probabilities_[static_cast<std::size_t>(t)]; }

  /// The t whose interval in [0, 1), of length p(t), contains u; never one of probability 0.
  std::int64_t at(double u) const;

  /// The timesteps for `u`, each weighted by 1 / (T p(t)), so that the expectation of the objective is that of uniform
  /// timesteps, or by 1.
  TimestepDraw draw(const std::vector<double>& u, bool is_importance_weighted) const;

 private:
  std::vector<double> probabilities_;
  std::vector<double> sums_;  ///< of the probabilities up to and including t
};

/// t = floor(T u) if times are whole numbers, else first + (last - first) u; each weighted 1.
TimestepDraw uniform_draw(const std::vector<double>& u, const TimeRange& times);

}  // namespace casdm::timesteps_diffusion
