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

/// What is made of the images of a data set.
struct ImageForm {
  Dataset::Spec spec;
  bool applies_orientation = false;  ///< of EXIF; else it is remarked
};

/// Of the option `exif_orientation`, which data sets of photos have.
inline constexpr const char* kOrientationHelp =
    "What becomes of photos that say which side is up: `ignore`, their pixels are taken as they are stored; `apply`, "
    "they are turned and mirrored as viewers show them.";

/// Decodes a PNG or JPEG, told apart by its first bytes, and prepares it (prepare_image.h).
///
/// Transparent pixels are laid on white; 16-bit samples are rounded to 8; grey is the luma of
/// ITU-R BT.601; colour profiles and gamma are not applied. An orientation is applied to the prepared image.
/// Throws Error, whose text begins with `name`, when the bytes are no such image, are damaged, end too early, or are
/// beyond the limits of decoding.h.
/// @return without a label
Example decode_image(std::span<const std::uint8_t> bytes, const ImageForm& form, const std::string& name);

/// The luma of an RGB image: one channel.
Image to_grey(const Image& rgb);

}  // namespace casdm::dataset_images
