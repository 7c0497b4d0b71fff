#include <ATen/ATen.h>

#include <cmath>

#include "casdm/error.h"
#include "casdm/plugin.h"
#include "casdm/sampler.h"
#include "casdm/text.h"

namespace {

using at::Tensor;

struct TemplateNameOptions {
  std::int64_t num_inference_steps = 50;
  std::string clip = "each";

  static void describe(casdm::Schema<TemplateNameOptions>& s) {
    s.option("num_inference_steps", &TemplateNameOptions::num_inference_steps, "Steps of one trajectory.").at_least(1);
    s.option("clip", &TemplateNameOptions::clip, "Which clean images are kept in [-1, 1].")
        .choices(casdm::clip_names());
  }
};

/// Follows the predicted noise without adding any: DDIM with eta = 0 (Song et al. 2021, equation 12).
///
///     x_next = alpha_next x0 + sigma_next e,     e = (x_t - alpha_t x0) / sigma_t
class TemplateNameSampler : public casdm::Sampler {
 public:
  using Options = TemplateNameOptions;

  TemplateNameSampler(const Options& options, const Spec& spec)
      : clip_(casdm::clip_from(options.clip)), initial_scale_(spec.schedule->prior_std()) {
    const casdm::TimeRange times = spec.schedule->range();
    const std::int64_t total = spec.schedule->num_train_timesteps();
    const std::int64_t count = options.num_inference_steps;
    if (count > total) {
      throw casdm::ConfigError(
          casdm::text("num_inference_steps = ", count, ", but there are only ", total, " timesteps"));
    }
    // Equal steps from the last time to the clean image; the times may have to be whole numbers.
    const auto time = [&](std::int64_t steps_left) {
      const double part = static_cast<double>(steps_left) / static_cast<double>(count);
      const double t = times.clean + part * (times.last - times.clean);
      return times.is_whole ? std::floor(t) : t;
    };
    for (std::int64_t i = count; i > 0; --i) plan_.push_back({time(i), time(i - 1), false});
  }

  const std::vector<casdm::SampleStep>& plan() const override { return plan_; }
  double initial_scale() const override { return initial_scale_; }

  Tensor step(const casdm::StepInput& input) override {
    const Tensor x0 = casdm::mixed_x0(input.estimate, clip_);
    const Tensor eps = (input.x_t - input.level.alpha * x0) / input.level.sigma;
    return input.next_level.alpha * x0 + input.next_level.sigma * eps;
  }

 private:
  casdm::Clip clip_;
  double initial_scale_;
  std::vector<casdm::SampleStep> plan_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A sampler of my own", .licence = "Apache-2.0"});
  plugin.add<TemplateNameSampler>("template_name", "Deterministic DDIM over evenly spaced timesteps.");
}
