#include "casdm/plugin.h"

#include "betas.h"
#include "casdm/beta_schedule.h"

namespace casdm::noise_beta {
namespace {

/// A noise scheduler fully described by the betas of its options.
template <class BetaOptions>
class ScheduleOf : public BetaSchedule {
 public:
  using Options = BetaOptions;
  ScheduleOf(const Options& options, const Spec& /*spec*/) : BetaSchedule(betas_of(options)) {}
};

}  // namespace
}  // namespace casdm::noise_beta

CASDM_PLUGIN(plugin) {
  using namespace casdm::noise_beta;
  plugin.describe({.summary = "Noise schedules given by their betas", .licence = "Apache-2.0"});
  plugin.add<ScheduleOf<LinearOptions>>("linear", "Betas rise linearly (Ho et al. 2020).");
  plugin.add<ScheduleOf<CosineOptions>>("cosine", "A_t falls like a squared cosine (Nichol & Dhariwal 2021, eq. 17).")
      .recommended();
  plugin.add<ScheduleOf<SigmoidOptions>>("sigmoid", "A_t falls like a logistic function (Jabri et al. 2022).");
  plugin.add<ScheduleOf<ScaledLinearOptions>>("scaled_linear",
                                              "Square roots of the betas rise linearly (Rombach et al. 2022).");
}
