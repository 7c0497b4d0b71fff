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

/// Follows the model's noise without adding any: DDIM with eta = 0 (Song et al. 2021, equation 12).
///
///     x_next = sqrt(A_next) x0 + sqrt(1 - A_next) e,     e = (x_t - sqrt(A_t) x0) / sqrt(1 - A_t)
class TemplateNameSampler : public casdm::Sampler {
 public:
  using Options = TemplateNameOptions;

  TemplateNameSampler(const Options& options, const Spec& spec)
      : clip_(casdm::clip_from(options.clip)), schedule_(spec.schedule) {
    const std::int64_t total = schedule_->num_train_timesteps();
    const std::int64_t count = options.num_inference_steps;
    if (count > total) {
      throw casdm::ConfigError(
          casdm::text("num_inference_steps = ", count, ", but there are only ", total, " timesteps"));
    }
    for (std::int64_t i = count; i > 0; --i) {
      const std::int64_t next = (i - 1) * total / count - 1;
      plan_.push_back({static_cast<double>(i * total / count - 1), static_cast<double>(next), false});
    }
  }

  const std::vector<casdm::SampleStep>& plan() const override { return plan_; }

  Tensor step(const casdm::StepInput& input) override {
    const double a = signal(plan_[input.index].t);
    const double a_next = signal(plan_[input.index].t_next);
    const Tensor x0 = casdm::mixed_x0(input.estimate, clip_);
    const Tensor eps = (input.x_t - std::sqrt(a) * x0) / std::sqrt(1 - a);
    return std::sqrt(a_next) * x0 + std::sqrt(1 - a_next) * eps;
  }

 private:
  /// A_t; 1 after the last step.
  double signal(double t) const { return t < 0 ? 1.0 : schedule_->alphas_cumprod()[static_cast<std::size_t>(t)]; }

  casdm::Clip clip_;
  std::shared_ptr<const casdm::NoiseScheduler> schedule_;
  std::vector<casdm::SampleStep> plan_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A sampler of my own", .licence = "Apache-2.0"});
  plugin.add<TemplateNameSampler>("template_name", "Deterministic DDIM over evenly spaced timesteps.");
}
