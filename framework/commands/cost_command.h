#pragma once

#include "framework/cost/estimate.h"

namespace casdm {

/// The cost of an experiment that `casdm config check --cost` and `casdm train --dry-run` print: in the precision that
/// it would be trained in, from at most some 20 seconds of steps. Warns when the machine has too little memory.
CostEstimate measured_cost(const LoadedExperiment& experiment);

}  // namespace casdm
