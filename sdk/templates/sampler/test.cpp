#include <ATen/ATen.h>

#include <cstdlib>
#include <iostream>

#include "casdm/beta_schedule.h"
#include "casdm/plugin_description.h"
#include "casdm/sampler.h"

extern "C" const casdm_plugin* casdm_plugin_entry();

namespace {

int failures = 0;

void check(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "FAILED: " << what << '\n';
  ++failures;
}

/// The component as the host makes it, with `options` as in the experiment file.
std::shared_ptr<casdm::Sampler> make(const casdm::Value& options, const casdm::Sampler::Spec& spec) {
  const casdm::PluginDescription plugin = casdm::describe_plugin(*casdm_plugin_entry());
  return std::static_pointer_cast<casdm::Sampler>(plugin.find("sampler", "template_name")->make(options, &spec));
}

}  // namespace

int main() {
  const auto schedule = std::make_shared<casdm::BetaSchedule>(std::vector<double>(100, 0.03));
  const auto sampler = make(casdm::Value::Table{{"num_inference_steps", 10}, {"clip", "none"}}, {schedule});
  check(sampler->plan().size() == 10, "there are as many steps as asked for");
  check(sampler->plan().front().t == 99 && sampler->plan().back().t_next == -1, "it goes from noise to the image");

  // A model that knows the clean image must lead there.
  const at::Tensor x0 = at::linspace(-1, 1, 2 * 3 * 4 * 4, at::kDouble).reshape({2, 3, 4, 4});
  at::Tensor x = at::ones_like(x0);
  sampler->start();
  for (std::size_t i = 0; i < sampler->plan().size(); ++i) {
    casdm::Estimate estimate;
    estimate.x0_from_eps = x0;
    const casdm::SampleStep& step = sampler->plan()[i];
    x = sampler->step({i, x, estimate, {}, schedule->level(step.t), schedule->level(step.t_next)});
  }
  check((x - x0).abs().max().item<double>() < 1e-12, "an oracle's clean image is reached");
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
