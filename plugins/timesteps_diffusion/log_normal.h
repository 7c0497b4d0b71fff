#pragma once

#include "casdm/timestep_sampler.h"

namespace casdm::timesteps_diffusion {

struct LogNormalOptions {
  double mean = -1.2;
  double std = 1.2;

  static void describe(Schema<LogNormalOptions>& s);
};

/// Times at which ln(sigma / alpha) ~ N(mean, std^2), clamped to the path (Karras et al. 2022, table 1: P_mean and
/// P_std), for every path: a time is found from its log signal-to-noise ratio, -2 ln(sigma / alpha), and rounded if the
/// path's times are whole numbers. Each has weight 1.
class LogNormalTimesteps : public TimestepSampler {
 public:
  using Options = LogNormalOptions;

  LogNormalTimesteps(const LogNormalOptions& options, const Spec& spec);

  TimestepDraw draw(const std::vector<double>& u) const override;

 private:
  LogNormalOptions options_;
  std::shared_ptr<const NoiseScheduler> schedule_;
};

}  // namespace casdm::timesteps_diffusion
