#include "casdm/augmentation.h"
#include "casdm/backbone.h"
#include "casdm/cascade_head.h"
#include "casdm/dataset.h"
#include "casdm/error.h"
#include "casdm/feature_extractor.h"
#include "casdm/metric_loss.h"
#include "casdm/moments_metric.h"
#include "casdm/random.h"
#include "casdm/sampler.h"
#include "casdm/set_metric.h"
#include "casdm/text.h"
#include "casdm/timestep_sampler.h"
#include "casdm/weight_layout.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

namespace casdm {

Augmentation::~Augmentation() = default;
Backbone::~Backbone() = default;
CascadeHead::~CascadeHead() = default;
ComponentFactory::~ComponentFactory() = default;
Dataset::~Dataset() = default;
FeatureExtractor::~FeatureExtractor() = default;
MetricLoss::~MetricLoss() = default;
MetricTerms::~MetricTerms() = default;
MomentsMetric::~MomentsMetric() = default;
Sampler::~Sampler() = default;
SetMetric::~SetMetric() = default;
TimestepSampler::~TimestepSampler() = default;
WeightLayout::~WeightLayout() = default;

Condition TrainingBatch::condition_for(std::string_view module) const {
  Condition result = condition;
  const std::string purpose = text("dropout/", module);
  for (const std::uint64_t seed : seeds) result.dropout.seeds.push_back(derive_seed(seed, purpose));
  return result;
}

TrainingBatch noised_batch(const NoiseScheduler& schedule, const Tensor& x0, const Tensor& t, const Tensor& eps) {
  TrainingBatch batch;
  batch.x0 = x0;
  batch.target = x0;
  batch.eps = eps;
  batch.t = t;
  batch.alpha = schedule.alpha(t);
  batch.sigma = schedule.sigma(t);
  batch.x_t = per_image(batch.alpha, x0) * x0 + per_image(batch.sigma, x0) * eps;
  batch.log_snr = schedule.log_snr(t);
  return batch;
}

std::shared_ptr<Backbone> CascadeHead::Spec::backbone(const std::string& name, const ComponentConfig& config,
                                                      std::int64_t in_channels, std::int64_t out_channels) const {
  return factory->make<Backbone>(config, {.image = {in_channels, image.height, image.width},
                                          .out_channels = out_channels,
                                          .condition = condition,
                                          .seed = derive_seed(seed, name)});
}

namespace {

std::vector<std::string> tap_names(const Backbone& backbone) {
  std::vector<std::string> names;
  for (const TapInfo& tap : backbone.taps()) names.push_back(tap.name);
  return names;
}

}  // namespace

void require_taps(const Backbone& backbone, const std::vector<std::string>& names) {
  const std::vector<std::string> known = tap_names(backbone);
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::vector<std::string> near = nearest(name, known);
    throw ConfigError(text("the backbone has no tap ", quoted(name), "; ",
                           known.empty()  ? "it has none"
                           : near.empty() ? text("it has ", join(known, ", "))
                                          : text("did you mean ", join(near, " or "), "?")));
  }
}

BackboneOutput Backbone::forward_with_taps(const Tensor& x, const Tensor& t, const Condition& condition,
                                           const std::vector<std::string>& names) {
  require_taps(*this, names);
  return {forward(x, t, condition), {}};
}

std::vector<Tensor> MetricLoss::prepare(const Tensor& target) { return {target}; }

Tensor MetricLoss::distance_in(const Tensor& prediction, const std::vector<Tensor>& target,
                               const MetricContext& /*context*/) {
  return distance(prediction, target);
}

Tensor MetricLoss::operator()(const Tensor& prediction, const Tensor& target, const MetricContext& context) {
  std::vector<Tensor> prepared;
  {
    at::NoGradGuard no_grad;
    prepared = prepare(target);
  }
  return distance_in(prediction, prepared, context);
}

std::vector<std::string> clip_names() { return {"none", "each", "mixed"}; }

Clip clip_from(const std::string& name) {
  const std::vector<std::string> names = clip_names();
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<Clip>(i);
  }
  throw ConfigError(text("clip '", name, "' is not one of ", join(names, ", ")));
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
