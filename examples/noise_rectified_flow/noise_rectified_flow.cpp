#include <cmath>

#include "casdm/noise_scheduler.h"
#include "casdm/plugin.h"

namespace {

struct RectifiedFlowOptions {
  std::int64_t num_train_timesteps = 1000;

  static void describe(casdm::Schema<RectifiedFlowOptions>& s) {
    s.option("num_train_timesteps", &RectifiedFlowOptions::num_train_timesteps, "Number of times T of the flow.")
        .at_least(2);
  }
};

/// The straight path x_s = (1 - s) x0 + s eps of a rectified flow (Liu et al. 2023), scaled to variance 1:
///     x_t = (sqrt(A) + sqrt(1-A)) x_s,    A = (1-s)^2 / ((1-s)^2 + s^2),    s = (t+1) / (T+1)
std::vector<double> betas_of(const RectifiedFlowOptions& options) {
  std::vector<double> betas;
  double before = 1;
  for (std::int64_t t = 0; t < options.num_train_timesteps; ++t) {
    const double s = static_cast<double>(t + 1) / static_cast<double>(options.num_train_timesteps + 1);
    const double signal = (1 - s) * (1 - s) / ((1 - s) * (1 - s) + s * s);
    betas.push_back(1 - signal / before);
    before = signal;
  }
  return betas;
}

class RectifiedFlowNoise : public casdm::NoiseScheduler {
 public:
  using Options = RectifiedFlowOptions;

  RectifiedFlowNoise(const Options& options, const Spec&) : NoiseScheduler(betas_of(options)) {}
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "Rectified flow as a noise schedule", .licence = "Apache-2.0"});
  plugin.add<RectifiedFlowNoise>("rectified_flow", "The straight path of a rectified flow, scaled to variance 1.");
}
