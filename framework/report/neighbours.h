#pragma once

#include <string>

#include "framework/comparison/comparison.h"

namespace casdm {

/// Samples beside the images of the data that are nearest to them, as `casdm evaluate RUN --nearest` has found them,
/// as HTML with everything in it: of one run of each arm. Empty where no run has any.
std::string neighbours(const Comparison& comparison);

}  // namespace casdm
