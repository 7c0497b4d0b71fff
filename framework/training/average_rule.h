#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "framework/config/ema_options.h"

namespace casdm {

/// The position in the training at which the averages are updated.
struct AverageTime {
  std::int64_t step = 1;        ///< optimiser steps done, this one included
  std::int64_t images = 1;      ///< images seen, this step's included
  std::int64_t batch_size = 1;  ///< images of this step
};

/// The update rule of one average of the weights: average <- keep average + (1 - keep) weights after each step.
class AverageRule {
 public:
  AverageRule(const EmaOptions& main);
  /// `options` must have passed checked_experiment (cross_checks.h): exactly one of decay, half_life and sigma_rel is
  /// set.
  AverageRule(const AverageOptions& options, bool warmup);

  const std::string& name() const { return name_; }

  /// The width of a power function; absent for the other rules.
  std::optional<double> sigma_rel() const { return sigma_rel_; }

  /// The setting with which it would leave the initial weights sooner: "ema.warmup = true".
  const char* remedy() const { return half_life_ > 0 ? "a rampup_ratio of 0.05" : "ema.warmup = true"; }

  /// decay:      min(decay, (1 + step) / (10 + step)), or decay without warm-up.
  /// half_life:  2^(-batch_size / min(half_life, rampup_ratio * images before the step)) (Karras et al. 2022, EDM).
  /// sigma_rel:  (1 - batch_size / images)^(gamma + 1) (Karras et al. 2024, EDM2, section 3.1).
  double keep(const AverageTime& now) const;

 private:
  std::string name_;
  double decay_ = 0;
  bool warmup_ = false;
  std::int64_t half_life_ = 0;  ///< 0: another rule
  double rampup_ratio_ = 0;
  std::optional<double> sigma_rel_;
  double gamma_ = 0;
};

/// The main average, named "ema", followed by those of [[ema.also]].
std::vector<AverageRule> average_rules(const EmaOptions& options);

}  // namespace casdm
