#pragma once

#include <string>

#include "framework/training/metric_terms.h"

namespace casdm {

/// What a training is measured by and does not train: of the buffers of each metric ("metric.NAME") one number each,
/// which is another for other weights; of each other feature extractor, by its key, the SHA-256 of its weights. A
/// table; without what has none.
Value fixed_networks(const LoadedExperiment& experiment, const ExperimentMetrics& metrics);

/// What of `now` differs from `then`, of what both name, by name; empty: nothing. Numbers that another machine would
/// compute are the same.
std::string difference_of_networks(const Value& then, const Value& now);

}  // namespace casdm
