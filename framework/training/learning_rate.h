#pragma once

#include <cstdint>

#include "framework/config/experiment.h"

namespace casdm {

/// The learning rate of the step that ends at `images` of `total` images: it rises linearly over warmup_images, then
/// stays, or falls to 0 at `total` linearly or as half a cosine.
double learning_rate(const OptimizerOptions& options, std::int64_t images, std::int64_t total);

}  // namespace casdm
