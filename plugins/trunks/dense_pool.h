#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace casdm::trunks {

using at::Tensor;

/// Max pooling with stride 1 and no padding of x [B, C, H, W]. Of equal values the first one gets the gradient; for
/// float64 and float16 on a GPU they share it.
Tensor dense_max_pool(const Tensor& x, std::int64_t kernel);

}  // namespace casdm::trunks
