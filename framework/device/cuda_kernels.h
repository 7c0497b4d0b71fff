#pragma once

#include "casdm/block_kernel.h"

namespace casdm {

/// Compiles `kernel` with NVRTC for the current device, unless this process has already done so, and queues it on the
/// current stream.
void launch_on_cuda(const BlockKernel& kernel, const BlockLaunch& launch);

}  // namespace casdm
