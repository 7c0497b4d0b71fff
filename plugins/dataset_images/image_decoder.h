#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "casdm/dataset.h"

namespace casdm::dataset_images {

/// Whether `name` ends like an image we decode: .png, .jpg, .jpeg, in any case.
bool is_image_name(std::string_view name);

/// The endings above, for messages.
inline constexpr std::string_view kImageEndings = ".png, .jpg or .jpeg";

/// Decodes a PNG or JPEG, told apart by its first bytes, to 8 bits in `channels` (3 RGB, 1 grey).
///
/// Transparent pixels are laid on white; 16-bit samples are rounded to 8; grey is the luma of
/// ITU-R BT.601; colour profiles, gamma and EXIF orientation are not applied.
/// Throws Error, whose text begins with `name`, when the bytes are no such image, are damaged or end too early.
Image decode_image(std::span<const std::uint8_t> bytes, std::int64_t channels, const std::string& name);

/// The luma of an RGB image: one channel.
Image to_grey(const Image& rgb);

}  // namespace casdm::dataset_images
