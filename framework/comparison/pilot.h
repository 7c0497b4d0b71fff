#pragma once

#include <cstdint>
#include <string>

#include "framework/comparison/sweep_runner.h"

namespace casdm {

/// What is known about an arm before it is trained.
struct Pilot {
  double images_per_second = 0;  ///< 0: unknown
  double start = 0;              ///< seconds until the first step is done
  std::int64_t parameters = 0;   ///< parameters and buffers of all modules; 0: unknown
  std::string problem = {};      ///< why it cannot be trained; empty: it can
};

/// Trains a cell for some seconds in a temporary folder beside the sweep's; or looks at its run if there is one that
/// has come far enough. Stops early if `interrupted()`.
Pilot pilot_of(const Sweep& sweep, const SweepCell& cell, const SweepSettings& settings);

}  // namespace casdm
