#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "casdm/choice.h"
#include "casdm/dataset.h"

namespace casdm::dataset_images {

/// Whether `name` ends like an image we decode: .png, .jpg, .jpeg, .webp, in any case.
bool is_image_name(std::string_view name);

/// The endings above, for messages.
inline constexpr std::string_view kImageEndings = ".png, .jpg, .jpeg or .webp";

/// What becomes of an orientation that a photo's EXIF data give.
enum class ExifOrientation { ignore, apply };

constexpr auto choices_of(ExifOrientation) {
  using enum ExifOrientation;
  return choices<ExifOrientation>({{ignore, "ignore"}, {apply, "apply"}});
}

/// What is made of the images of a data set.
struct ImageForm {
  Dataset::Spec spec;
  ExifOrientation orientation = ExifOrientation::ignore;  ///< ignored ones are remarked
};

/// Of the option `exif_orientation`, which data sets of photos have.
inline constexpr const char* kOrientationHelp =
    "EXIF orientation of photos: `ignore` uses the pixels as they are stored; `apply` rotates and "
    "mirrors them as viewers do.";

/// Decodes a PNG, JPEG or WebP, told apart by its first bytes, and prepares it (prepare_image.h).
///
/// Transparent pixels are laid on white; 16-bit samples are rounded to 8; grey is the luma of
/// ITU-R BT.601; colour profiles and gamma are not applied. An orientation is applied to the prepared image.
/// Throws Error, whose text begins with `name`, when the bytes are not such an image, are damaged, end too early, or
/// are beyond the limits of decoding.h.
/// @return without a label
Example decode_image(std::span<const std::uint8_t> bytes, const ImageForm& form, const std::string& name);

/// Whether the bytes begin as an image we decode does.
bool looks_like_image(std::span<const std::uint8_t> bytes);

/// The luma of an RGB image: one channel.
Image to_grey(const Image& rgb);

}  // namespace casdm::dataset_images
