#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "casdm/noise_scheduler.h"
#include "framework/config/experiment.h"

namespace casdm {

/// The amount of noise in the unit of a metric's noise_range: float64, shaped like t, on its device. With x = alpha x0
/// +
/// sigma eps, log_snr is log(alpha^2 / sigma^2); flow_time is sigma / (alpha + sigma), the time of a rectified flow
/// that has the same signal-to-noise ratio; t_fraction is NoiseScheduler::fraction.
Tensor amount_of_noise(NoiseUnit unit, const NoiseScheduler& schedule, const Tensor& t);

/// Selects the training images to which a metric is applied: those within its t_range and noise_range, of these a
/// share, in every nth step, until a given number of images has been seen.
class MetricSelection {
 public:
  /// Keeps a reference to `schedule`. Throws ConfigError if no time of the path is within the ranges.
  /// @param name  the metric's
  MetricSelection(const MetricOptions& options, std::string name, const NoiseScheduler& schedule);

  /// Whether the metric is applied in a step.
  /// @param step         from 1
  /// @param images_seen  by the run before this step
  bool is_due(std::int64_t step, std::int64_t images_seen) const;

  /// Whether `chosen` is true for every image.
  bool is_of_all() const;

  /// bool [B], on the CPU.
  /// @param t      float64 [B], on the CPU
  /// @param seeds  of the images; empty: the share includes all of them
  Tensor chosen(const Tensor& t, const std::vector<std::uint64_t>& seeds) const;

  /// The factor for the gradient of a chosen image with which the mean over the batch becomes what `mean` says and a
  /// share has the same effect as all images.
  /// @param chosen,  images counts in the whole batch
  double gradient_factor(double chosen, double images) const;

 private:
  Tensor in_range(const Tensor& t) const;
  void require_times() const;

  const MetricOptions options_;
  std::string name_;
  const NoiseScheduler& schedule_;
};

}  // namespace casdm
