#include <ATen/ATen.h>

#include "casdm/beta_schedule.h"
#include "casdm/sampler.h"
#include "casdm/testing.h"

using casdm::testing::check;
using casdm::testing::make;

int main() {
  const auto schedule = std::make_shared<casdm::BetaSchedule>(std::vector<double>(100, 0.03));
  const auto sampler = make<casdm::Sampler>(
      "template_name", casdm::Value::Table{{"num_inference_steps", 10}, {"clip", "none"}}, {schedule});
  check(sampler->plan().size() == 10, "there are as many steps as asked for");
  check(sampler->plan().front().t == 99 && sampler->plan().back().t_next == -1, "it goes from noise to the image");

  // With a model that knows the clean image, sampling must end there.
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
  return casdm::testing::result();
}
