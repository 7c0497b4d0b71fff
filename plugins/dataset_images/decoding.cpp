#include "decoding.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::dataset_images {

void check_sides(std::int64_t width, std::int64_t height) {
  if (width >= 1 && height >= 1 && width <= kMaxSide && height <= kMaxSide && width <= kMaxPixels / height) return;
  throw Error(text("its header claims ", width, " x ", height, " pixels; the limit is ", kMaxPixels,
                   " pixels and a side of ", kMaxSide));
}

void check_working_bytes(std::uint64_t bytes, std::int64_t width, std::int64_t height, const char* cause) {
  if (bytes <= kMaxWorkingBytes) return;
  throw Error(text("its ", width, " x ", height, " pixels are ", cause, ", so they take ", bytes >> 20,
                   " MiB at once; the limit is ", kMaxWorkingBytes >> 20, " MiB"));
}

namespace {

/// Reads numbers of a TIFF block in its byte order; 0 beyond its end.
class Tiff {
 public:
  Tiff(Bytes bytes, bool is_little) : bytes_(bytes), is_little_(is_little) {}

  std::uint32_t number(std::size_t at, std::size_t size) const {
    if (at > bytes_.size() || size > bytes_.size() - at) return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < size; ++i) value = value << 8 | bytes_[is_little_ ? at + size - 1 - i : at + i];
    return value;
  }

 private:
  Bytes bytes_;
  bool is_little_;
};

constexpr std::string_view kExif("Exif\0\0", 6);

}  // namespace

bool begins_as_exif(Bytes block) {
  return block.size() >= kExif.size() && std::equal(kExif.begin(), kExif.end(), block.begin());
}

int orientation_of(Bytes exif) {
  if (begins_as_exif(exif)) exif = exif.subspan(kExif.size());
  if (exif.size() < 8 || exif[0] != exif[1] || (exif[0] != 'I' && exif[0] != 'M')) return 1;
  constexpr std::uint32_t orientation = 0x0112;
  const Tiff tiff(exif, exif[0] == 'I');
  const std::size_t directory = tiff.number(4, 4);
  const std::size_t first = directory + 2, claimed = tiff.number(directory, 2);
  const std::size_t entries = std::min(claimed, (exif.size() - std::min(exif.size(), first)) / 12);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = first + 12 * i;
    if (tiff.number(entry, 2) != orientation) continue;
    const auto value = static_cast<int>(tiff.number(entry + 8, 2));
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

void flatten(const std::uint8_t* rgba, std::vector<std::uint8_t>& rgb) {
  for (std::size_t pixel = 0; pixel < rgb.size() / 3; ++pixel) {
    const int alpha = rgba[pixel * 4 + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      rgb[pixel * 3 + c] = static_cast<std::uint8_t>((rgba[pixel * 4 + c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
  }
}

Image turned(const Image& stored, int orientation) {
  // Orientations from 5 on swap rows and columns.
  const bool is_transposed = orientation >= 5;
  const bool flips_u = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flips_v = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image result{stored.width, stored.height, stored.channels, {}};
  if (is_transposed) std::swap(result.width, result.height);
  result.pixels.reserve(stored.pixels.size());
  for (std::int64_t y = 0; y < result.height; ++y) {
    for (std::int64_t x = 0; x < result.width; ++x) {
      const std::int64_t u = is_transposed ? y : x, v = is_transposed ? x : y;
      const std::int64_t source =
          (flips_v ? stored.height - 1 - v : v) * stored.width + (flips_u ? stored.width - 1 - u : u);
      const auto pixel = stored.pixels.begin() + source * stored.channels;
      result.pixels.insert(result.pixels.end(), pixel, pixel + stored.channels);
    }
  }
  return result;
}

}  // namespace casdm::dataset_images
