#pragma once

#include <string>

#include "framework/comparison/comparison.h"

namespace casdm {

/// Samples beside the images of the data that are nearest to them, as found by `casdm evaluate RUN --nearest`, as
/// self-contained HTML, for one run of each arm. Empty if no run has any.
std::string neighbours(const Comparison& comparison);

}  // namespace casdm
