#pragma once

#include <cstdint>
#include <memory>

#include "casdm/feature_extractor.h"
#include "casdm/metric_loss.h"

namespace casdm::metric_compose {

/// The extractor `config` for the images of a metric. Throws ConfigError if it is not differentiable; warns if a seed
/// was chosen and the extractor draws no weights from it.
std::shared_ptr<FeatureExtractor> differentiable_extractor(const ComponentConfig& config, const MetricLoss::Spec& spec,
                                                           std::int64_t seed);

}  // namespace casdm::metric_compose
