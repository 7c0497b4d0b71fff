#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>

#include "casdm/dataset.h"

namespace casdm {

/// Writes an 8-bit PNG, RGB or grey, as an AtomicFile. Throws Error naming the file when writing fails.
void write_png(const std::filesystem::path& path, const Image& image);

/// The image of a tensor: uint8 [C, H, W], C = 1 or 3, on any device.
Image to_image(const at::Tensor& chw);

/// One PNG per image: `folder`/000000.png and on, numbered from `first`. Throws as write_png does.
/// @param images  uint8 [N, C, H, W]
void write_pngs(const std::filesystem::path& folder, const at::Tensor& images, std::int64_t first = 0);

/// All images in one: rows from the top, about as many columns as rows, 2 white pixels between and around them.
/// @param images  uint8 [N, C, H, W], N >= 1, C = 1 or 3, on any device
/// @param scale   each pixel becomes scale x scale pixels; 0: as many as make an image at least 64 pixels wide
Image image_grid(const at::Tensor& images, std::int64_t scale = 0);

/// Writes samples as guided-diffusion's scripts do, for evaluators to read: a NumPy .npz (stored, not compressed)
/// with `arr_0` uint8 [N, H, W, C] and, when labels are given, `arr_1` int64 [N]. Written as an
/// AtomicFile. Throws Error naming the file when writing fails.
/// @param images  uint8 [N, C, H, W], on any device
/// @param labels  int64 [N], or undefined
void write_npz(const std::filesystem::path& path, const at::Tensor& images, const at::Tensor& labels = {});

}  // namespace casdm
