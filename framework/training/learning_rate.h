#pragma once

#include <cstdint>

#include "framework/config/experiment.h"

namespace casdm {

/// The learning rate of the step that ends at `images` = n of `total` = N images: options.learning_rate times the
/// warm-up min(1, n / W) and a factor by options.schedule, with W = warmup_images, F = final_fraction and u the elapsed
/// fraction of the training after warm-up, (n - W) / (N - W) within [0, 1]:
///
///     constant       1
///     linear         F + (1 - F) (1 - u)
///     cosine         F + (1 - F) (1 + cos(pi u)) / 2
///     inverse_sqrt   1 / sqrt(max(1, n / R)), R = reference_images or W   (Karras et al. 2024, equation 67)
///     wsd            1 until N - D, then linearly to F at N, D = decay_images or N / 5   (Hu et al. 2024, section 4)
double learning_rate(const OptimizerOptions& options, std::int64_t images, std::int64_t total);

}  // namespace casdm
