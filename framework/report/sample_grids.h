#pragma once

#include <string>

#include "framework/comparison/comparison.h"

namespace casdm {

/// The grids of samples that were drawn while training, as HTML with everything in it: a slider for the moment, a
/// choice of the seed, the arms side by side. Of many grids some are taken, evenly, the last one always. Empty without
/// any.
std::string sample_grids(const Comparison& comparison);

}  // namespace casdm
