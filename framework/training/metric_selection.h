#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "casdm/noise_scheduler.h"
#include "framework/config/experiment.h"

namespace casdm {

/// How much noise, as a metric's noise_range counts it: float64, shaped like t, on its device. With x = alpha x0 +
/// sigma eps, log_snr is log(alpha^2 / sigma^2); flow_time is sigma / (alpha + sigma), the time of a rectified flow
/// that has the same signal-to-noise ratio; t_fraction is NoiseScheduler::fraction.
Tensor amount_of_noise(NoiseUnit unit, const NoiseScheduler& schedule, const Tensor& t);

/// Which images of a training a metric is applied to: those at the noise levels of its t_range and noise_range, of
/// these a share, in every nth step, until so many images were seen.
class MetricSelection {
 public:
  /// Keeps a reference to `schedule`. Throws ConfigError when no time of the path falls into the ranges.
  /// @param name  the metric's
  MetricSelection(const MetricOptions& options, std::string name, const NoiseScheduler& schedule);

  /// Whether the metric has a part in a step.
  /// @param step         from 1
  /// @param images_seen  by the run before it
  bool is_due(std::int64_t step, std::int64_t images_seen) const;

  /// Whether `chosen` is true of every image.
  bool is_of_all() const;

  /// bool [B], on the CPU.
  /// @param t      float64 [B], on the CPU
  /// @param seeds  of the images; empty: all of them belong to the share
  Tensor chosen(const Tensor& t, const std::vector<std::uint64_t>& seeds) const;

  /// What the gradient of a chosen image is multiplied by, so that the mean over the batch becomes what `mean` says and
  /// a share is worth as much as all.
  /// @param chosen, images  numbers of the whole batch
  double gradient_factor(double chosen, double images) const;

 private:
  Tensor in_range(const Tensor& t) const;
  void require_times() const;

  const MetricOptions options_;
  std::string name_;
  const NoiseScheduler& schedule_;
};

}  // namespace casdm
