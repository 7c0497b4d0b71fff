#pragma once

#include <string>
#include <vector>

#include "framework/comparison/comparison.h"

namespace casdm {

/// How runs that ought to differ only in their seed, or in what their arms' experiments say, were really made of
/// different things (see Provenance), one line each: "ARM: seeds 1, 2: trained with other data than seed 0: ...". Runs
/// that are left out of the comparison do not count.
std::vector<std::string> unlike_runs(const Comparison& comparison);

}  // namespace casdm
