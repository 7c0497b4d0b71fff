#pragma once

#include "casdm/noise_scheduler.h"
#include "casdm/options.h"

namespace casdm::noise_continuous {

struct FlowPathOptions {
  double shift = 1.0;
  double t_min = 1e-3;
  double t_max = 1.0;

  static void describe(Schema<FlowPathOptions>& s);
};

/// Rectified flow (Liu et al. 2023): x_t = (1 - s) x0 + s eps with s = shift t / (1 + (shift - 1) t), t in [0, 1].
///
/// A shift of sqrt(m / n) gives images of m pixels, in training and in sampling, the signal-to-noise ratios at which
/// images of n pixels are equally hard to recognise (Esser et al. 2024, section 5.3.2, equation 23). Networks get the
/// time 1000 s. At t_max = 1 no signal is left: heads that predict the noise need a smaller t_max.
class FlowPath : public NoiseScheduler {
 public:
  using Options = FlowPathOptions;

  FlowPath(const FlowPathOptions& options, const Spec& spec);

  TimeRange range() const override { return {.first = options_.t_min, .last = options_.t_max, .clean = 0}; }
  Tensor alpha(const Tensor& t) const override;
  Tensor sigma(const Tensor& t) const override;
  /// In closed form: sigma = 1 / (1 + exp(log_snr / 2)).
  Tensor time_at(const Tensor& log_snr) const override;
  Tensor network_time(const Tensor& t) const override { return 1000 * sigma(t); }

 private:
  FlowPathOptions options_;
};

}  // namespace casdm::noise_continuous
