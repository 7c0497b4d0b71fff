#include <doctest/doctest.h>

#include <cstdlib>

#include "casdm/error.h"
#include "image_makers.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// The one image of a folder.
Example decoded(const TemporaryFolder& folder, const Bytes& bytes, std::int64_t size = 16,
                const std::string& more = "") {
  write_bytes(folder.path() / "image.webp", bytes);
  return make<Dataset>("folder", "path = \"" + folder.path().string() + "\"\n" + more, {ImageShape::square(3, size)})
      ->get(0);
}

std::string complaint(const TemporaryFolder& folder, const Bytes& bytes) {
  return message_of<Error>([&] { decoded(folder, bytes); });
}

}  // namespace

TEST_CASE("a lossless WebP has exactly the pixels it was made from, and a lossy one similar ones") {
  const TemporaryFolder folder;
  const Image image = pattern(16, 16, 3);
  CHECK(decoded(folder, webp_of(image)).image.pixels == image.pixels);
  const Image lossy = decoded(folder, lossy_webp_of(plain(16, 16, {200, 100, 50}))).image;
  for (std::size_t c = 0; c < 3; ++c) CHECK(std::abs(lossy.pixels[c] - (c == 0 ? 200 : c == 1 ? 100 : 50)) <= 4);
}

TEST_CASE("a WebP and a PNG with the same pixels are prepared identically") {
  const TemporaryFolder folder;
  const Image image = pattern(70, 45, 5);
  const Image prepared = decoded(folder, webp_of(image)).image;
  CHECK(prepared.width == 16);
  CHECK(decoded(folder, png_of(image)).image.pixels == prepared.pixels);
}

TEST_CASE("transparent pixels of a WebP are blended over white") {
  const TemporaryFolder folder;
  Bytes rgba;
  for (int i = 0; i < 256; ++i) rgba.insert(rgba.end(), {100, 0, 0, static_cast<std::uint8_t>(i < 128 ? 0 : 255)});
  const Image image = decoded(folder, webp_of(16, 16, rgba)).image;
  CHECK(Bytes(image.pixels.begin(), image.pixels.begin() + 3) == Bytes{255, 255, 255});
  CHECK(Bytes(image.pixels.end() - 3, image.pixels.end()) == Bytes{100, 0, 0});
}

TEST_CASE("the orientation of a WebP is applied if requested, else reported") {
  const TemporaryFolder folder;
  const Image image = pattern(16, 16, 4);
  const Bytes turned = webp_of(image, exif_of(3));  // upside down
  CHECK(decoded(folder, turned).remark.find("EXIF orientation") != std::string::npos);
  Bytes reversed;
  for (std::size_t pixel = 256; pixel-- > 0;) {
    for (std::size_t c = 0; c < 3; ++c) reversed.push_back(image.pixels[pixel * 3 + c]);
  }
  CHECK(decoded(folder, turned, 16, "exif_orientation = \"apply\"").image.pixels == reversed);
}

TEST_CASE("wherever a WebP is truncated, it is refused by name") {
  const TemporaryFolder folder;
  const Bytes bytes = webp_of(pattern(16, 16, 6));
  for (std::size_t size = 12; size + 2 < bytes.size(); size += 7) {
    CAPTURE(size);
    const std::string message = complaint(folder, {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)});
    CHECK_MESSAGE(message.find("image.webp cannot be decoded: ") != std::string::npos, message);
  }
}

TEST_CASE("an animated WebP is refused") {
  const TemporaryFolder folder;
  const std::string message = complaint(folder, animated_webp_of({pattern(16, 16, 1), pattern(16, 16, 2)}));
  CHECK_MESSAGE(message.ends_with("it is an animation; only single images are read"), message);
}

TEST_CASE("a WebP that claims to be enormous is refused before it is decoded") {
  const TemporaryFolder folder;
  // A lossless image of 16383 x 16383 pixels: a signature and twice 14 bits.
  Bytes bytes = webp_of(pattern(16, 16, 1));
  const std::size_t at = 21;
  REQUIRE(bytes[20] == 0x2F);
  const std::uint32_t sides = 16382U | 16382U << 14;
  for (std::size_t i = 0; i < 4; ++i)
    bytes[at + i] = static_cast<std::uint8_t>((i == 3 ? bytes[at + 3] & 0xF0U : 0U) | (sides >> (8 * i) & 0xFF));
  const long before = peak_memory();
  const std::string message = complaint(folder, bytes);
  CHECK_MESSAGE(message.find("its 16383 x 16383 pixels are WebP, which is decoded as a whole, so they take ") !=
                    std::string::npos,
                message);
  CHECK(peak_memory() - before < 64);
}
