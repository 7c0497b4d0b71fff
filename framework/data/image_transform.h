#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "casdm/dataset.h"

namespace casdm {

/// `image` as the networks see it: its central square, `image_size` x `image_size`, with `channels` channels.
///
/// Resizes as guided-diffusion's center_crop_arr does, in its order of operations: box-filtered halves while the
/// shorter side is at least twice the target, then an antialiased bicubic filter (a = -0.5), then the crop. Each
/// resizing works along the rows, then the columns, with 8 bits between: bitwise what Pillow 11.3 gives (Pillow 13
/// takes the columns of tall images first, which rounds otherwise). An image of the right size comes back unchanged.
/// Grey becomes RGB by repetition, RGB grey by the luma of ITU-R BT.601.
/// Throws Error when the sides, channels and number of pixels of `image` contradict each other.
Image prepare_image(const Image& image, std::int64_t image_size, std::int64_t channels);

/// 0..255 to [-1, 1]: x / 127.5 - 1, float32.
at::Tensor to_float(const at::Tensor& bytes);

/// [-1, 1] to 0..255 as guided-diffusion saves samples: (x + 1) * 127.5, clamped and truncated (not rounded), in
/// float32. Inverts `to_float` up to that truncation, so within 1.
at::Tensor to_uint8(const at::Tensor& images);

}  // namespace casdm
