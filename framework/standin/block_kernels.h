#pragma once

#include "casdm/block_kernel.h"

namespace casdm::standin {

/// A BlockLauncher: compiles the source for the CPU and runs each phase as a loop over the threads of a block.
void run_block_kernel(const BlockKernel& kernel, const BlockLaunch& launch);

}  // namespace casdm::standin
