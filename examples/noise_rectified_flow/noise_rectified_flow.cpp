#include <ATen/ATen.h>

#include "casdm/noise_scheduler.h"
#include "casdm/plugin.h"

namespace {

using at::Tensor;

struct RectifiedFlowOptions {
  double t_min = 1e-3;
  double t_max = 1.0;

  static void describe(casdm::Schema<RectifiedFlowOptions>& s) {
    s.option("t_min", &RectifiedFlowOptions::t_min, "Least noise that networks are trained at.")
        .greater_than(0)
        .less_than(1);
    s.option("t_max", &RectifiedFlowOptions::t_max,
             "Most noise that networks are trained at; heads that predict the noise need some signal there: 0.999.")
        .greater_than(0)
        .range(0, 1);
  }
};

/// The straight path x_t = (1 - t) x0 + t eps of a rectified flow (Liu et al. 2023), t anywhere in [0, 1].
class RectifiedFlow : public casdm::NoiseScheduler {
 public:
  using Options = RectifiedFlowOptions;

  RectifiedFlow(const Options& options, const Spec&) : options_(options) {}

  casdm::TimeRange range() const override { return {.first = options_.t_min, .last = options_.t_max, .clean = 0}; }
  Tensor alpha(const Tensor& t) const override { return 1 - t.to(at::kDouble); }
  Tensor sigma(const Tensor& t) const override { return t.to(at::kDouble); }

 private:
  Options options_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "Rectified flow as a noise schedule", .licence = "Apache-2.0"});
  plugin.add<RectifiedFlow>("rectified_flow", "The straight path of a rectified flow, in continuous time.");
}
