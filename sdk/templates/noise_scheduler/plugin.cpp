#include <cmath>

#include "casdm/beta_schedule.h"
#include "casdm/plugin.h"

namespace {

struct TemplateNameOptions {
  std::int64_t num_train_timesteps = 1000;
  double beta_start = 1e-4;
  double beta_end = 0.02;
  double power = 1.5;

  static void describe(casdm::Schema<TemplateNameOptions>& s) {
    s.option("num_train_timesteps", &TemplateNameOptions::num_train_timesteps, "Number of noise levels T.").at_least(2);
    s.option("beta_start", &TemplateNameOptions::beta_start, "Beta of the first timestep.").greater_than(0).range(0, 1);
    s.option("beta_end", &TemplateNameOptions::beta_end, "Beta of the last timestep.").greater_than(0).range(0, 1);
    s.option("power", &TemplateNameOptions::power, "How the betas rise between the two; 1: linearly.").greater_than(0);
  }
};

/// beta_t = start + (end - start) (t / (T-1))^power, t counted from 0.
std::vector<double> betas_of(const TemplateNameOptions& options) {
  std::vector<double> betas;
  for (std::int64_t t = 0; t < options.num_train_timesteps; ++t) {
    const double u = static_cast<double>(t) / static_cast<double>(options.num_train_timesteps - 1);
    betas.push_back(options.beta_start + (options.beta_end - options.beta_start) * std::pow(u, options.power));
  }
  return betas;
}

/// Everything else follows from the betas, in the base class.
class TemplateNameNoise : public casdm::BetaSchedule {
 public:
  using Options = TemplateNameOptions;

  TemplateNameNoise(const Options& options, const Spec&) : BetaSchedule(betas_of(options)) {}
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A noise schedule of my own", .licence = "Apache-2.0"});
  plugin.add<TemplateNameNoise>("template_name", "Betas that rise with a power of time.");
}
