#pragma once

#include <functional>

#include "framework/distributed/world.h"

namespace casdm {

/// `work` as one of the processes that the environment says there are, and its exit status. Where it fails, the others
/// learn of it and end too, and one of all processes throws; the others return 1 in silence. Those but the first are
/// silent on std::cerr meanwhile.
/// @param is_cancelled  asked while the processes meet
int run_in_world(const std::function<int(World&)>& work, const std::function<bool()>& is_cancelled);

}  // namespace casdm
