#pragma once

#include "casdm/timestep_sampler.h"
#include "distribution.h"

namespace casdm::timesteps_diffusion {

struct LogitNormalOptions {
  double mean = 0.0;
  double std = 1.0;
  bool importance = false;

  static void describe(Schema<LogitNormalOptions>& s);
};

/// Timesteps t = floor(T s) with logit(s) = log(s / (1-s)) ~ N(mean, std^2) (Esser et al. 2024, "Scaling Rectified Flow
/// Transformers", section 3.1, their m and s), so that
///
///     p(t) = F((t+1) / T) - F(t / T),   F(s) = Phi((logit(s) - mean) / std)
///
/// and, if times are not whole numbers, t = first + (last - first) s with s from that distribution. The middle of the
/// diffusion is drawn most often; mean > 0 shifts it to more noise. Without importance weights this changes the
/// objective, as the paper intends.
class LogitNormalTimesteps : public TimestepSampler {
 public:
  using Options = LogitNormalOptions;

  LogitNormalTimesteps(const LogitNormalOptions& options, const Spec& spec);

  TimestepDraw draw(const std::vector<double>& u) const override;

 private:
  LogitNormalOptions options_;
  TimeRange times_;
  Distribution distribution_;  ///< of the whole timesteps
};

}  // namespace casdm::timesteps_diffusion
