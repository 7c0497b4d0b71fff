#pragma once

#include <string_view>

#include "casdm/set_metric.h"

namespace casdm::set_metrics {

/// The tensor `name` of a state, which may come from a file and be in any order. Throws Error if there is none.
Tensor& tensor_of(NamedTensors& state, std::string_view name);
const Tensor& tensor_of(const NamedTensors& state, std::string_view name);

/// Throws ConfigError for a feature with positions.
void require_pooled(const FeatureInfo& feature);

}  // namespace casdm::set_metrics
