#pragma once

#include <csetjmp>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "casdm/dataset.h"

/// What the decoders share. They read an image row by row and prepare it on the way (prepare_image.h), so besides the
/// file and the result they need only a few rows, whatever the size of the image. Files whose rows are not stored one
/// after another need the whole image at once and have their own limit.
namespace casdm::dataset_images {

using Bytes = std::span<const std::uint8_t>;

/// Limits for the pixels and sides of an image; a damaged header may claim anything.
inline constexpr std::int64_t kMaxPixels = std::int64_t{1} << 28;
inline constexpr std::int64_t kMaxSide = 1'000'000;
/// Limit for an image file, in bytes.
inline constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 28;
/// Limit for the memory that an image may need while it is decoded, in bytes.
inline constexpr std::uint64_t kMaxWorkingBytes = std::uint64_t{1} << 28;

/// An image prepared for the networks, before its EXIF orientation is applied.
struct DecodedImage {
  Image image;
  int orientation = 1;  ///< EXIF's number, 1 to 8; 1: upright
};

/// Throws Error, with the limit, if an image of this size is too large to be decoded.
void check_sides(std::int64_t width, std::int64_t height);

/// Throws Error if `bytes` exceeds the limit for decoding one image.
/// @param cause  "progressive"
void check_working_bytes(std::uint64_t bytes, std::int64_t width, std::int64_t height, const char* cause);

/// Whether "Exif\0\0" is before it, as in a JPEG, where other blocks have the same marker.
bool begins_as_exif(Bytes block);

/// The orientation in an EXIF block, with or without "Exif\0\0" before it; 1 if it has none.
int orientation_of(Bytes exif);

/// Blends a row of RGBA over white.
/// @param rgb  as many pixels as `rgba` has
void flatten(const std::uint8_t* rgba, std::vector<std::uint8_t>& rgb);

/// The image turned according to its orientation; orientations from 5 on swap width and height.
Image turned(const Image& stored, int orientation);

/// Calls functions of a library that reports failures by longjmp, like libjpeg and libpng.
class Jump {
 public:
  /// Runs `call()`, in which no object with a destructor may live. Returns false if it called `leave`.
  template <class Call>
  bool returns(Call&& call) {
    if (setjmp(buffer_) != 0) return false;
    call();
    return true;
  }
  [[noreturn]] void leave() { std::longjmp(buffer_, 1); }

 private:
  std::jmp_buf buffer_;
};

}  // namespace casdm::dataset_images
