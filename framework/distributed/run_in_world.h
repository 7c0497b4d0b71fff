#pragma once

#include <functional>

#include "framework/distributed/world.h"

namespace casdm {

/// Runs `work` as one of the processes described by the environment and returns its exit status. If it fails, the
/// others are told and end too; one of them all throws, the others return 1 silently. All but the first print nothing
/// to std::cerr meanwhile.
/// @param is_cancelled  called while the processes meet
int run_in_world(const std::function<int(World&)>& work, const std::function<bool()>& is_cancelled);

}  // namespace casdm
