#pragma once

#include <csetjmp>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "casdm/dataset.h"

/// What the decoders share. They take an image row by row and prepare it on the way (prepare_image.h),
/// so beside the file and the result they need a few rows, whatever the size of the image; files whose rows do not
/// come one after another need all of it at once, and have their own limit.
namespace casdm::dataset_images {

using Bytes = std::span<const std::uint8_t>;

/// An image has no more pixels, nor a longer side; a damaged header may claim anything.
inline constexpr std::int64_t kMaxPixels = std::int64_t{1} << 28;
inline constexpr std::int64_t kMaxSide = 1'000'000;
/// Bytes of an image file.
inline constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 28;
/// Bytes that an image may take at once while it is decoded.
inline constexpr std::uint64_t kMaxWorkingBytes = std::uint64_t{1} << 28;

/// An image prepared for the networks, before its EXIF orientation is applied.
struct DecodedImage {
  Image image;
  int orientation = 1;  ///< EXIF's number, 1 to 8; 1: upright
};

/// Throws Error when an image of these sides is not decoded, with the limit.
void check_sides(std::int64_t width, std::int64_t height);

/// Throws Error when `bytes` are more than an image may take at once.
/// @param cause  "progressive"
void check_working_bytes(std::uint64_t bytes, std::int64_t width, std::int64_t height, const char* cause);

/// EXIF's orientation from the bytes of an EXIF block, with or without "Exif\0\0" before it; 1 when it has none.
int orientation_of(Bytes exif);

/// A row of RGBA over white.
/// @param rgb  as many pixels as `rgba` has
void flatten(const std::uint8_t* rgba, std::vector<std::uint8_t>& rgb);

/// The square image as its orientation wants it to be seen.
Image turned(const Image& square, int orientation);

/// Calls of a library that leaves by longjmp when it fails, as libjpeg and libpng do.
class Jump {
 public:
  /// `call()`, which must hold nothing that has a destructor. False when it called `leave`.
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
