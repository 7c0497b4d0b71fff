#pragma once

#include <c10/core/ScalarType.h>

#include <string>

#include "casdm/block_kernel.h"

namespace casdm::convolution {

/// A kernel for elements of one type.
/// @param name    of a kernel in `source`, where `Value` is the type: float for float32, else BFloat16
BlockKernel typed_kernel(const std::string& name, at::ScalarType type, const std::string& source, int phases = 1);

}  // namespace casdm::convolution
