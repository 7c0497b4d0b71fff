#pragma once

#include "framework/training/metric_terms.h"

namespace casdm {

/// Identifies the networks that measure a training and are not trained: for each metric ("metric.NAME") one number per
/// buffer, which differs for different weights; for every other feature extractor, by its key, the SHA-256 of its
/// weights. A table; components without weights are left out.
Value fixed_networks(const LoadedExperiment& experiment, const ExperimentMetrics& metrics);

}  // namespace casdm
