#pragma once

#include <string>

#include "framework/comparison/comparison.h"

namespace casdm {

/// The grids of samples drawn during training, as self-contained HTML: a slider for the moment, a choice of the seed,
/// the arms side by side. If there are many grids, an evenly spaced selection that includes the last one. Empty if
/// there are none.
std::string sample_grids(const Comparison& comparison);

}  // namespace casdm
