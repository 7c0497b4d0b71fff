#pragma once

#include <functional>
#include <string>

#include "framework/distributed/world.h"

namespace casdm {

/// Runs `work` as one of the processes described by the environment and returns its exit status. If it fails, the
/// others are told and end too; one of them all throws, the others return 1 silently. All but the first print nothing
/// to std::cerr meanwhile.
/// @param command       its name, the same in all processes; otherwise ConfigError says who runs which
/// @param is_cancelled  called while the processes meet
int run_in_world(const std::string& command, const std::function<int(World&)>& work,
                 const std::function<bool()>& is_cancelled);

}  // namespace casdm
