#include <cmath>
#include <cstdlib>
#include <iostream>

#include "casdm/noise_scheduler.h"
#include "casdm/plugin_description.h"

extern "C" const casdm_plugin* casdm_plugin_entry();

namespace {

int failures = 0;

void check(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "FAILED: " << what << '\n';
  ++failures;
}

/// The component as the host makes it, with `options` as in the experiment file.
std::shared_ptr<casdm::NoiseScheduler> make(const casdm::Value& options) {
  const casdm::PluginDescription plugin = casdm::describe_plugin(*casdm_plugin_entry());
  const casdm::NoiseScheduler::Spec spec;
  return std::static_pointer_cast<casdm::NoiseScheduler>(
      plugin.find("noise_scheduler", "template_name")->make(options, &spec));
}

}  // namespace

int main() {
  const auto schedule = make(casdm::Value::Table{{"num_train_timesteps", 1000}, {"power", 1.0}});
  check(schedule->num_train_timesteps() == 1000, "there are as many timesteps as asked for");
  check(std::abs(std::pow(schedule->level(0).sigma, 2) - 1e-4) < 1e-15, "the first beta is as given");
  // Linear betas are DDPM's schedule, whose signal at the end is 4.036e-5 (Ho et al. 2020).
  check(std::abs(std::pow(schedule->level(999).alpha, 2) - 4.036e-5) < 1e-8, "power 1 is DDPM's schedule");

  const auto slow = make(casdm::Value::Table{{"power", 3.0}});
  for (int t = 1; t < 1000; ++t) {
    if (slow->level(t).alpha >= slow->level(t - 1).alpha) check(false, "the signal falls with every step");
  }
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
