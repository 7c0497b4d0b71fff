#include "casdm/augmentation.h"
#include "casdm/backbone.h"
#include "casdm/cascade_head.h"
#include "casdm/dataset.h"
#include "casdm/error.h"
#include "casdm/metric_loss.h"
#include "casdm/sampler.h"
#include "casdm/text.h"
#include "casdm/timestep_sampler.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

namespace casdm {

Augmentation::~Augmentation() = default;
Backbone::~Backbone() = default;
CascadeHead::~CascadeHead() = default;
ComponentFactory::~ComponentFactory() = default;
Dataset::~Dataset() = default;
MetricLoss::~MetricLoss() = default;
MetricTerms::~MetricTerms() = default;
Sampler::~Sampler() = default;
TimestepSampler::~TimestepSampler() = default;

Condition TrainingBatch::condition(std::string_view module) const {
  Condition condition;
  condition.labels = labels;
  condition.augment = augment;
  if (dropout) condition.dropout = dropout(module);
  return condition;
}

std::vector<Tensor> MetricLoss::prepare(const Tensor& target) { return {target}; }

Tensor MetricLoss::operator()(const Tensor& prediction, const Tensor& target) {
  std::vector<Tensor> prepared;
  {
    at::NoGradGuard no_grad;
    prepared = prepare(target);
  }
  return distance(prediction, prepared);
}

std::vector<std::string> clip_names() { return {"none", "each", "mixed"}; }

Clip clip_from(const std::string& name) {
  const std::vector<std::string> names = clip_names();
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<Clip>(i);
  }
  throw ConfigError(text("clip '", name, "' is none of ", join(names, ", ")));
}

Tensor mixed_x0(const Estimate& estimate, Clip clip) {
  const auto clipped = [&](const Tensor& x0) { return clip == Clip::each ? x0.clamp(-1, 1) : x0; };
  Tensor x0;
  if (!estimate.x0.defined()) {
    x0 = clipped(estimate.x0_from_eps);
  } else if (!estimate.x0_from_eps.defined() || !estimate.gate.defined()) {
    x0 = clipped(estimate.x0);
  } else {
    x0 = estimate.gate * clipped(estimate.x0) + (1 - estimate.gate) * clipped(estimate.x0_from_eps);
  }
  return clip == Clip::mixed ? x0.clamp(-1, 1) : x0;
}

}  // namespace casdm
