#pragma once

#include "framework/training/metric_terms.h"

namespace casdm {

/// Identify the networks that measure a training and are not trained. Tables; components without weights are left out.

/// For each metric ("metric.NAME") two numbers per buffer, which differ for different weights: first the directions of
/// all, then their lengths, which earlier versions left out. Takes a tenth of a second for the 15 million weights of a
/// VGG16.
Value metric_networks(const ExperimentMetrics& metrics);

/// For every feature extractor, by its key, the SHA-256 of its weights. Throws Error if they are missing.
Value extractor_networks(const LoadedExperiment& experiment);

}  // namespace casdm
