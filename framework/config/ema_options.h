#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "casdm/options.h"

namespace casdm {

/// One of [[ema.also]]: an additional average. Exactly one of decay, half_life and sigma_rel must be set.
struct AverageOptions {
  std::string name;
  std::optional<double> decay;
  std::optional<Count> half_life;
  std::optional<double> sigma_rel;
  double rampup_ratio = 0.05;

  static void describe(Schema<AverageOptions>& s);
};

/// [ema]
struct EmaOptions {
  double decay = 0.9999;
  bool warmup = true;
  Count half_life = 0;
  double rampup_ratio = 0.05;
  std::vector<AverageOptions> also;
  Count snapshot_every_images = 0;

  static void describe(Schema<EmaOptions>& s);
};

}  // namespace casdm
