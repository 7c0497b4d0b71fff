#include <cmath>

#include "casdm/noise_scheduler.h"
#include "casdm/testing.h"

using casdm::testing::check;
using casdm::testing::make;

int main() {
  const auto schedule =
      make<casdm::NoiseScheduler>("template_name", casdm::Value::Table{{"num_train_timesteps", 1000}, {"power", 1.0}});
  check(schedule->num_train_timesteps() == 1000, "there are as many timesteps as asked for");
  check(std::abs(std::pow(schedule->level(0).sigma, 2) - 1e-4) < 1e-15, "the first beta is as given");
  // Linear betas are DDPM's schedule, whose signal at the end is 4.036e-5 (Ho et al. 2020).
  check(std::abs(std::pow(schedule->level(999).alpha, 2) - 4.036e-5) < 1e-8, "power 1 is DDPM's schedule");

  const auto slow = make<casdm::NoiseScheduler>("template_name", casdm::Value::Table{{"power", 3.0}});
  for (int t = 1; t < 1000; ++t) {
    if (slow->level(t).alpha >= slow->level(t - 1).alpha) check(false, "the signal falls with every step");
  }
  return casdm::testing::result();
}
