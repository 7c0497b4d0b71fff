#pragma once

#include <ATen/core/Tensor.h>

namespace casdm {

/// 0..255 to [-1, 1]: x / 127.5 - 1, float32.
at::Tensor to_float(const at::Tensor& bytes);

/// [-1, 1] to 0..255 as guided-diffusion saves samples: (x + 1) * 127.5, clamped and truncated (not rounded), in
/// float32. Inverts `to_float` up to that truncation, so within 1.
at::Tensor to_uint8(const at::Tensor& images);

}  // namespace casdm
