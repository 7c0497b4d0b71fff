#include "flow_path.h"

#include <ATen/ATen.h>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::noise_continuous {

void FlowPathOptions::describe(Schema<FlowPathOptions>& s) {
  s.option("shift", &FlowPathOptions::shift,
           "Above 1: more noise at each t, as larger images need; sqrt(m/n) for m pixels after n (Esser et al. 2024).")
      .greater_than(0)
      .range(0, 1000);
  s.option("t_min", &FlowPathOptions::t_min, "Least noise that networks are trained at.").greater_than(0).less_than(1);
  s.option("t_max", &FlowPathOptions::t_max,
           "Most noise. At 1 no signal is left, so the noise does not determine the image: `cascade`, `dual` and "
           "`single` with \"epsilon\" need less, such as 0.999.")
      .greater_than(0)
      .range(0, 1);
}

FlowPath::FlowPath(const FlowPathOptions& options, const Spec& /*spec*/) : options_(options) {
  if (options.t_min >= options.t_max) {
    throw ConfigError(text("t_min = ", options.t_min, " is not below t_max = ", options.t_max));
  }
}

Tensor FlowPath::sigma(const Tensor& t) const {
  const Tensor time = t.to(at::kDouble);
  return options_.shift * time / (1 + (options_.shift - 1) * time);
}

Tensor FlowPath::alpha(const Tensor& t) const {
  const Tensor time = t.to(at::kDouble);
  return (1 - time) / (1 + (options_.shift - 1) * time);
}

Tensor FlowPath::time_at(const Tensor& log_snr) const {
  const Tensor s = (-0.5 * log_snr).sigmoid();
  return (s / (options_.shift - (options_.shift - 1) * s)).clamp(options_.t_min, options_.t_max);
}

}  // namespace casdm::noise_continuous
