#pragma once

#include <functional>
#include <string>
#include <vector>

#include "framework/comparison/pilot.h"

namespace casdm {

/// What a sweep will do.
struct SweepPlan {
  struct Arm {
    std::size_t runs = 0;
    std::size_t complete = 0;
    std::size_t to_train = 0;
    std::int64_t images = 0;       ///< of one run
    std::int64_t images_left = 0;  ///< of all its runs
    Pilot pilot;                   ///< all 0 if there is none
  };
  std::vector<Arm> arms;  ///< one per point of the sweep

  /// Seconds of training with `jobs` runs at a time, each as fast as its pilot; 0: unknown.
  double seconds(std::int64_t jobs) const;
};

/// @param pilot  called for each arm with an unfinished run, with one of its cells
SweepPlan plan_of(const Sweep& sweep, const std::function<Pilot(const SweepCell&)>& pilot);

/// For people: one line per arm, and the total time.
std::string text_of(const Sweep& sweep, const SweepPlan& plan, std::int64_t jobs);

}  // namespace casdm
