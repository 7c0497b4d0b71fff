#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "casdm/options.h"

namespace casdm {

/// One of [[ema.also]]: an average beside the main one. Exactly one of decay, half_life and sigma_rel.
struct AverageOptions {
  std::string name;
  std::optional<double> decay;
  std::optional<Count> half_life;
  std::optional<double> sigma_rel;
  double rampup_ratio = 0.05;

  static void describe(Schema<AverageOptions>& s) {
    s.option("name", &AverageOptions::name, "Name in checkpoints, and of `casdm sample --weights NAME`.")
        .file_name()
        .required();
    s.option("decay", &AverageOptions::decay, "Per-step decay, with [ema]'s warmup.").range(0, 1);
    s.option("half_life", &AverageOptions::half_life, "The weights of this long ago count half.")
        .at_least(1)
        .in_unit("images");
    s.option("sigma_rel", &AverageOptions::sigma_rel,
             "Power function of this width, as a fraction of the training so far (Karras et al. 2024).")
        .greater_than(0);
    s.option("rampup_ratio", &AverageOptions::rampup_ratio, "See [ema]; of half_life.").at_least(0);
  }
};

/// [ema]
struct EmaOptions {
  double decay = 0.9999;
  bool warmup = true;
  Count half_life = 0;
  double rampup_ratio = 0.05;
  std::vector<AverageOptions> also;
  Count snapshot_every_images = 0;

  static void describe(Schema<EmaOptions>& s) {
    s.option("decay", &EmaOptions::decay, "Per-step decay of the averaged weights that sampling uses.").range(0, 1);
    s.option("warmup", &EmaOptions::warmup,
             "Use min(decay, (1 + step) / (10 + step)), so that early averages are not the noise of the start.");
    s.option("half_life", &EmaOptions::half_life,
             "The weights of this long ago count half, in place of `decay`; 0: `decay`.")
        .at_least(0)
        .in_unit("images");
    s.option("rampup_ratio", &EmaOptions::rampup_ratio,
             "half_life is at most this fraction of the images seen so far (Karras et al. 2022); 0: no such limit.")
        .at_least(0);
    s.option("also", &EmaOptions::also, "More averages, one table each.");
    s.option("snapshot_every_images", &EmaOptions::snapshot_every_images,
             "Snapshots of the averages with sigma_rel this often, and at the end, for `casdm ema`; 0: never.")
        .at_least(0)
        .in_unit("images");
  }
};

}  // namespace casdm
