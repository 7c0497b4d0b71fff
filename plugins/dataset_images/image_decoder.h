#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "casdm/choice.h"
#include "casdm/dataset.h"

namespace casdm::dataset_images {

/// Whether `name` has the extension of an image we decode: .png, .jpg, .jpeg or .webp, in any case.
bool is_image_name(std::string_view name);

/// These extensions, for messages.
inline constexpr std::string_view kImageEndings = ".png, .jpg, .jpeg or .webp";

/// What to do with an orientation given in a photo's EXIF data.
enum class ExifOrientation { ignore, apply };

constexpr auto choices_of(ExifOrientation) {
  using enum ExifOrientation;
  return choices<ExifOrientation>({{ignore, "ignore"}, {apply, "apply"}});
}

/// How the images of a data set are prepared.
struct ImageForm {
  Dataset::Spec spec;
  ExifOrientation orientation = ExifOrientation::ignore;  ///< ignored orientations are reported as remarks
};

/// Help text of the option `exif_orientation`, which data sets of photos have.
inline constexpr const char* kOrientationHelp =
    "EXIF orientation of photos: `ignore` uses the pixels as they are stored; `apply` rotates and "
    "mirrors them as viewers do.";

/// Decodes a PNG, JPEG or WebP, distinguished by its first bytes, and prepares it (prepare_image.h).
///
/// Transparent pixels are blended over white; 16-bit samples are rounded to 8 bits; grey is the luma of ITU-R BT.601;
/// colour profiles and gamma are not applied. The orientation is applied to the prepared image. Throws Error, whose
/// message begins with `name`, if the bytes are not such an image, are damaged, end too early, or exceed the limits of
/// decoding.h.
/// @return without a label
Example decode_image(std::span<const std::uint8_t> bytes, const ImageForm& form, const std::string& name);

/// Whether the bytes begin like an image we decode.
bool looks_like_image(std::span<const std::uint8_t> bytes);

/// The luma of an RGB image: one channel.
Image to_grey(const Image& rgb);

}  // namespace casdm::dataset_images
