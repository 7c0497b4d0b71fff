#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "casdm/dataset.h"

namespace casdm {

/// Text in a PNG: keywords (1 to 79 Latin letters) with their contents in UTF-8.
using PngText = std::vector<std::pair<std::string, std::string>>;

/// The bytes of an 8-bit PNG, RGB or grey; the same image and text always give the same bytes.
std::string encode_png(const Image& image, const PngText& about = {});

/// Whether `content` is a PNG with these pixels, whatever text it contains.
bool is_png_of(const std::string& content, const Image& image);

/// Writes the PNG through an AtomicFile. Throws Error with the file's name if that fails.
void write_png(const std::filesystem::path& path, const Image& image, const PngText& about = {});

/// Whether the file is a PNG whose text says that this program made it.
bool is_png_of_ours(const std::filesystem::path& path);

/// The image of a tensor: uint8 [C, H, W], C = 1 or 3, on any device.
Image to_image(const at::Tensor& chw);

/// All images in one: rows from the top, about as many columns as rows, with 2 white pixels between and around them.
/// @param images  uint8 [N, C, H, W], N >= 1, C = 1 or 3, on any device
/// @param scale   each pixel becomes scale x scale pixels; 0: so that an image is at least 64 pixels wide
Image image_grid(const at::Tensor& images, std::int64_t scale = 0);

}  // namespace casdm
