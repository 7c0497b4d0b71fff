#include "casdm/plugin.h"

#include "betas.h"
#include "casdm/noise_scheduler.h"

namespace casdm::noise_beta {
namespace {

/// A noise scheduler that is its options' betas and nothing else.
template <class BetaOptions>
class BetaSchedule : public NoiseScheduler {
 public:
  using Options = BetaOptions;
  BetaSchedule(const Options& options, const Spec& /*spec*/) : NoiseScheduler(betas_of(options)) {}
};

}  // namespace
}  // namespace casdm::noise_beta

CASDM_PLUGIN(plugin) {
  using namespace casdm::noise_beta;
  plugin.describe({.summary = "Noise schedules given by their betas", .licence = "Apache-2.0"});
  plugin.add<BetaSchedule<LinearOptions>>("linear", "Betas rise linearly (Ho et al. 2020).");
  plugin.add<BetaSchedule<CosineOptions>>("cosine",
                                          "A_t falls like a squared cosine (Nichol & Dhariwal 2021, eq. 17).");
  plugin.add<BetaSchedule<SigmoidOptions>>("sigmoid", "A_t falls like a logistic function (Jabri et al. 2022).");
  plugin.add<BetaSchedule<ScaledLinearOptions>>("scaled_linear",
                                                "Square roots of the betas rise linearly (Rombach et al. 2022).");
}
