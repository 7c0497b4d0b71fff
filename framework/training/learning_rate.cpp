#include "framework/training/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace casdm {

double learning_rate(const OptimizerOptions& options, std::int64_t images, std::int64_t total) {
  const auto warmup = static_cast<double>(options.warmup_images);
  const auto seen = static_cast<double>(images);
  if (seen < warmup) return options.learning_rate * seen / warmup;
  const double part = std::clamp((seen - warmup) / std::max(1.0, static_cast<double>(total) - warmup), 0.0, 1.0);
  if (options.schedule == "linear") return options.learning_rate * (1 - part);
  if (options.schedule == "cosine") return options.learning_rate * 0.5 * (1 + std::cos(std::numbers::pi * part));
  return options.learning_rate;
}

}  // namespace casdm
