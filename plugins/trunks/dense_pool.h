#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace casdm::trunks {

using at::Tensor;

/// Max pooling with stride 1 and no padding of x [B, C, H, W]. How equal values share a gradient depends on format and
/// device.
Tensor dense_max_pool(const Tensor& x, std::int64_t kernel);

}  // namespace casdm::trunks
