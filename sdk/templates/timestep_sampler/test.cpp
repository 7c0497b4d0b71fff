#include <cmath>
#include <cstdlib>
#include <iostream>

#include "casdm/beta_schedule.h"
#include "casdm/plugin_description.h"
#include "casdm/timestep_sampler.h"

extern "C" const casdm_plugin* casdm_plugin_entry();

namespace {

int failures = 0;

void check(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "FAILED: " << what << '\n';
  ++failures;
}

/// The component as the host makes it, with `options` as in the experiment file.
std::shared_ptr<casdm::TimestepSampler> make(const casdm::Value& options) {
  const casdm::PluginDescription plugin = casdm::describe_plugin(*casdm_plugin_entry());
  casdm::TimestepSampler::Spec spec;
  spec.schedule = std::make_shared<casdm::BetaSchedule>(std::vector<double>(100, 0.03));
  return std::static_pointer_cast<casdm::TimestepSampler>(
      plugin.find("timestep_sampler", "template_name")->make(options, &spec));
}

/// Numbers spread evenly over [0, 1).
std::vector<double> numbers(int count) {
  std::vector<double> u;
  for (int i = 0; i < count; ++i) u.push_back((i + 0.5) / count);
  return u;
}

}  // namespace

int main() {
  const casdm::TimestepDraw plain = make(casdm::Value::Table{{"power", 1.0}})->draw({0.0, 0.25, 0.999});
  check(plain.t == std::vector<double>{0, 25, 99}, "power 1 is uniform");

  constexpr int kCount = 100000;
  const casdm::TimestepDraw draw = make(casdm::Value::Table{{"power", 2.0}})->draw(numbers(kCount));
  int early = 0;
  double weighted = 0;
  for (std::size_t i = 0; i < draw.t.size(); ++i) {
    early += draw.t[i] < 25 ? 1 : 0;
    weighted += draw.weight[i] * static_cast<double>(draw.t[i]) / kCount;
  }
  check(std::abs(early - kCount / 2) <= 1, "half of the draws are in the first quarter");
  check(std::abs(weighted - 49.5) < 0.05, "weighted, the mean of t is that of uniform timesteps");
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
