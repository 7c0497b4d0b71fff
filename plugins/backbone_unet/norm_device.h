#pragma once

#include <cstdint>
#include <vector>

#include "norm.h"

namespace casdm::unet {

/// What a group norm stores for its gradient, besides its result.
struct Normalised {
  Tensor y, mean, rstd;  // mean and rstd: [B, groups]
};

/// Whether the kernels below support `groups` groups of `channels` channels.
bool fits_norm_kernels(std::int64_t channels, std::int64_t groups);

/// The group norm of norm.h on a device that takes kernels: one kernel, and one with a sum for the gradients.
/// @param x  [B, C, H, W], float32 or bfloat16, channels-last and not empty; weight, bias, offset and scale_shift are
/// float32
Normalised norm_forward_on_device(const Tensor& x, const NormArguments& arguments);

/// Gradients of x, weight, bias, offset and scale_shift (each of these undefined if there is none).
std::vector<Tensor> norm_backward_on_device(const Tensor& x, const NormArguments& arguments, const Normalised& norm,
                                            const Tensor& grad_y);

}  // namespace casdm::unet
