#pragma once

#include <string_view>

#include "casdm/set_metric.h"

namespace casdm::set_metrics {

/// The tensor `name` of a state, which may come from a file, in any order. Throws Error when there is none.
Tensor& tensor_of(NamedTensors& state, std::string_view name);
const Tensor& tensor_of(const NamedTensors& state, std::string_view name);

/// Throws ConfigError for a feature with places.
void require_pooled(const FeatureInfo& feature);

}  // namespace casdm::set_metrics
