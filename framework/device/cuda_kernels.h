#pragma once

#include "casdm/block_kernel.h"

namespace casdm {

/// Queues `kernel` on the current stream. At the first use it is compiled by NVRTC for the current device, or read from
/// the user's compiled kernels.
void launch_on_cuda(const BlockKernel& kernel, const BlockLaunch& launch);

}  // namespace casdm
