#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <png.h>
#include <zlib.h>

#include <algorithm>

#include "casdm/error.h"
#include "image_makers.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// The only image of a folder with one file.
Example example(const Bytes& bytes, std::int64_t size, const std::string& more = "") {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "x.jpg", bytes);
  return make<Dataset>("folder", "path = \"" + folder.path().string() + "\"\n" + more, {ImageShape::square(3, size)})
      ->get(0);
}

Bytes pixels(const Bytes& bytes, std::int64_t size = 16) { return example(bytes, size).image.pixels; }

std::string complaint(const Bytes& bytes, std::int64_t size = 16) {
  return message_of<Error>([&] { pixels(bytes, size); });
}

/// The position of `marker` (its second byte) in a JPEG, from `from` on.
std::ptrdiff_t find_marker(const Bytes& jpeg, std::uint8_t marker, std::ptrdiff_t from = 0) {
  const Bytes wanted = {0xFF, marker};
  const auto found = std::search(jpeg.begin() + from, jpeg.end(), wanted.begin(), wanted.end());
  REQUIRE(found != jpeg.end());
  return found - jpeg.begin();
}

constexpr std::uint8_t kScan = 0xDA, kEnd = 0xD9, kApp0 = 0xE0, kAdobe = 0xEE, kBaseline = 0xC0, kProgressive = 0xC2;

/// The end of the scan that begins at `begin`: the next marker that is not part of its data.
std::ptrdiff_t end_of_scan(const Bytes& jpeg, std::ptrdiff_t begin) {
  auto at = static_cast<std::size_t>(begin) + 2;
  while (jpeg[at] != 0xFF || jpeg[at + 1] == 0) ++at;
  return static_cast<std::ptrdiff_t>(at);
}

Image noise(std::int64_t side) {
  Image image = pattern(side, side, 2);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) {
    image.pixels[i] = static_cast<std::uint8_t>(image.pixels[i] ^ (i * 2654435761U >> 26));
  }
  return image;
}

Bytes deflated(const Bytes& bytes) {
  Bytes result(compressBound(bytes.size()));
  uLongf size = result.size();
  REQUIRE(compress(result.data(), &size, bytes.data(), bytes.size()) == Z_OK);
  result.resize(size);
  return result;
}

}  // namespace

TEST_CASE("a JPEG with a libjpeg warning but without lost pixels is read like any other") {
  const Bytes whole = jpeg_of(noise(16));
  const Bytes expected = pixels(whole);

  Bytes sequential = whole;  // as written by some phones: the last coefficient of the scan is 0
  sequential[static_cast<std::size_t>(find_marker(whole, kScan)) + 4 + 2 * 3 + 2] = 0;
  CHECK(pixels(sequential) == expected);

  Bytes revision = whole;
  revision[static_cast<std::size_t>(find_marker(whole, kApp0)) + 9] = 9;
  CHECK(pixels(revision) == expected);

  Bytes between = whole;
  between.insert(between.begin() + find_marker(whole, kEnd), {1, 2, 3});
  CHECK(pixels(between) == expected);

  const Bytes cmyk = cmyk_jpeg_of(16, 16, Bytes(16 * 16 * 4, 99));
  Bytes transform = cmyk;
  transform[static_cast<std::size_t>(find_marker(cmyk, kAdobe)) + 15] = 7;
  CHECK(transform != cmyk);
  CHECK(pixels(transform) == pixels(cmyk));
}

TEST_CASE("a JPEG with a libjpeg warning about lost pixels is refused") {
  const Bytes whole = jpeg_of(noise(16));
  CHECK(complaint(Bytes(whole.begin(), whole.end() - 2)).ends_with("cannot be decoded: Premature end of JPEG file"));

  Bytes short_scan = whole;  // the data end early, the file does not
  short_scan.erase(short_scan.end() - 60, short_scan.end() - 2);
  CHECK(complaint(short_scan).ends_with("cannot be decoded: Corrupt JPEG data: premature end of data segment"));

  Bytes progressive = jpeg_of(noise(16), JpegScans::progressive);  // without its first scan
  const std::ptrdiff_t first = find_marker(progressive, kScan);
  progressive.erase(progressive.begin() + first, progressive.begin() + end_of_scan(progressive, first));
  const std::string message = complaint(progressive);
  CHECK_MESSAGE(message.find("cannot be decoded: Inconsistent progression sequence") != std::string::npos, message);
}

TEST_CASE("progressive, channel by channel or interlaced, an image has the same pixels") {
  const Image image = noise(24);
  const Bytes expected = pixels(jpeg_of(image), 24);
  CHECK(pixels(jpeg_of(image, JpegScans::progressive), 24) == expected);
  CHECK(pixels(jpeg_of(image, JpegScans::one_per_channel), 24) == expected);
  CHECK(pixels(png_of(image, true), 24) == image.pixels);
}

TEST_CASE("an orientation is applied if the data set says so, else reported") {
  // Four pixels in the corners, in the order in which each EXIF orientation displays them.
  const std::string upright[] = {"ABCD", "BADC", "DCBA", "CDAB", "ACBD", "CADB", "DBCA", "BDAC"};
  const auto coloured = [](const std::string& letters) {
    Image image{2, 2, 3, {}};
    for (const char letter : letters) image.pixels.insert(image.pixels.end(), 3, static_cast<std::uint8_t>(letter));
    return image;
  };
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const Bytes block = exif_of(orientation);
    for (const bool is_at_end : {false, true}) {
      const Bytes png = with_chunk(png_of(coloured("ABCD")), "eXIf", Bytes(block.begin() + 6, block.end()), is_at_end);
      const Example applied = example(png, 2, "exif_orientation = \"apply\"");
      CHECK(applied.image.pixels == coloured(upright[orientation - 1]).pixels);
      CHECK(applied.remark.empty());
      const Example ignored = example(png, 2);
      CHECK(ignored.image.pixels == coloured("ABCD").pixels);
      CHECK(ignored.remark == (orientation == 1 ? ""
                                                : "have an EXIF orientation that is not applied (exif_orientation = "
                                                  "\"apply\")"));
    }
  }
  const Image image = noise(16);
  const Bytes jpeg = jpeg_of(image, JpegScans::one, exif_of(3));
  Bytes reversed = example(jpeg, 16, "exif_orientation = \"apply\"").image.pixels;
  std::reverse(reversed.begin(), reversed.end());
  Bytes expected = pixels(jpeg);
  for (std::size_t i = 0; i < expected.size(); i += 3) std::swap(expected[i], expected[i + 2]);
  CHECK(reversed == expected);
}

TEST_CASE("an image that is not resized is turned according to its orientation, with its sides swapped from 5 on") {
  const at::Tensor stored = at::arange(32, at::kByte).view({4, 8});
  const at::Tensor upright[] = {stored,     stored.flip(1),     stored.flip({0, 1}),     stored.flip(0),
                                stored.t(), stored.t().flip(1), stored.t().flip({0, 1}), stored.t().flip(0)};
  const auto image_of = [](const at::Tensor& grey) {
    Image image{grey.size(1), grey.size(0), 3, {}};
    const at::Tensor flat = grey.contiguous().view(-1);
    for (std::int64_t i = 0; i < flat.numel(); ++i)
      image.pixels.insert(image.pixels.end(), 3, flat[i].item<std::uint8_t>());
    return image;
  };
  for (int orientation = 1; orientation <= 8; ++orientation) {
    CAPTURE(orientation);
    const Bytes block = exif_of(orientation);
    const Bytes png = with_chunk(png_of(image_of(stored)), "eXIf", Bytes(block.begin() + 6, block.end()));
    const Image applied = example(png, 0, "exif_orientation = \"apply\"").image;
    const Image expected = image_of(upright[orientation - 1]);
    CHECK(applied.width == expected.width);
    CHECK(applied.height == expected.height);
    CHECK(applied.pixels == expected.pixels);
  }
}

TEST_CASE("the first EXIF block of a JPEG counts, however many follow and however many entries it claims") {
  Bytes without = exif_of(6), claim;
  without[17] = 0x13;  // another tag than the orientation
  claim = without;
  claim[14] = claim[15] = 0xFF;
  const Bytes image = jpeg_of(noise(16));
  const auto with_blocks = [&](const std::vector<Bytes>& blocks) {
    Bytes segments;
    for (const Bytes& block : blocks) {
      const std::size_t length = block.size() + 2;
      const Bytes head = {0xFF, 0xE1, static_cast<std::uint8_t>(length >> 8), static_cast<std::uint8_t>(length)};
      segments.insert(segments.end(), head.begin(), head.end());
      segments.insert(segments.end(), block.begin(), block.end());
    }
    Bytes jpeg = image;
    jpeg.insert(jpeg.begin() + 2, segments.begin(), segments.end());
    return jpeg;
  };
  const std::string apply = "exif_orientation = \"apply\"";
  const Bytes stored = pixels(image), xmp = bytes_of("http://ns.adobe.com/xap/1.0/");
  CHECK(example(with_blocks({xmp, exif_of(6), without}), 16, apply).image.pixels != stored);
  CHECK(example(with_blocks({without, exif_of(6)}), 16, apply).image.pixels == stored);
  std::vector<Bytes> many(30'000, claim);
  many.push_back(exif_of(6));
  CHECK(example(with_blocks(many), 16, apply).image.pixels == stored);
}

TEST_CASE("an EXIF block that is truncated or damaged anywhere is ignored without a crash") {
  const Bytes block = exif_of(6);
  for (std::size_t length = 0; length < block.size(); ++length) {
    const Bytes cut(block.begin(), block.begin() + static_cast<std::ptrdiff_t>(length));
    CHECK(pixels(jpeg_of(noise(16), JpegScans::one, cut)).size() == 16 * 16 * 3);
    for (const std::uint8_t value : {0x00, 0xFF}) {
      Bytes damaged = block;
      damaged[length] = value;
      CHECK(example(jpeg_of(noise(16), JpegScans::one, damaged), 16, "exif_orientation = \"apply\"")
                .image.pixels.size() == 16 * 16 * 3);
    }
  }
}

TEST_CASE("a small file of an enormous image needs memory only for what is kept") {
  // 67 million pixels; a thin image that is resized to 256 x 256,000,000; texts of 320 MB when decompressed.
  const Bytes large = png_of(8192, 8192, 1, PNG_COLOR_TYPE_GRAY, Bytes(8192 * 8192 / 8, 0xFF));
  const Bytes thin = png_of(1, 1'000'000, 8, PNG_COLOR_TYPE_GRAY, Bytes(1'000'000, 0xFF));
  Bytes text = {'x', 0, 0};
  const Bytes packed = deflated(Bytes(7'900'000, 'x'));
  text.insert(text.end(), packed.begin(), packed.end());
  Bytes wordy = png_of(plain(8, 8, {255, 255, 255}));
  for (int i = 0; i < 40; ++i) wordy = with_chunk(wordy, "zTXt", text);
  const long before = peak_memory();
  CHECK(pixels(large, 8) == Bytes(8 * 8 * 3, 255));
  CHECK(pixels(thin, 256) == Bytes(256 * 256 * 3, 255));
  CHECK(pixels(wordy, 8) == Bytes(8 * 8 * 3, 255));
  CHECK(peak_memory() - before < 64);
}

TEST_CASE("an image beyond the limits is refused with its size and the limit, before memory is used") {
  const long before = peak_memory();
  const Bytes png = png_of(plain(8, 8, {9, 9, 9}));
  CHECK(complaint(with_sides(png, 100'000, 100'000))
            .ends_with("cannot be decoded: its header claims 100000 x 100000 pixels; the limit is 268435456 pixels "
                       "and a side of 1000000"));
  CHECK(complaint(with_sides(png, 0x7FFFFFFF, 1)).find("its header claims 2147483647 x 1 pixels") != std::string::npos);
  CHECK(complaint(with_sides(png_of(plain(8, 8, {9, 9, 9}), true), 16'000, 16'000))
            .ends_with("cannot be decoded: its 16000 x 16000 pixels are interlaced, so they take 976 MiB at once; the "
                       "limit is 256 MiB"));

  const auto claiming = [](Bytes jpeg, std::uint8_t frame, std::uint8_t side) {
    const auto at = static_cast<std::size_t>(find_marker(jpeg, frame));
    jpeg[at + 5] = jpeg[at + 7] = side;
    return jpeg;
  };
  const Image image = noise(16);
  CHECK(complaint(claiming(jpeg_of(image), kBaseline, 0xFE)).find("its header claims 65040 x 65040 pixels") !=
        std::string::npos);
  CHECK(complaint(claiming(jpeg_of(image, JpegScans::progressive), kProgressive, 0x3E))
            .ends_with("cannot be decoded: its 15888 x 15888 pixels are progressive or in several scans, so they take "
                       "1444 MiB at once; the limit is 256 MiB"));

  Bytes endless = jpeg_of(image, JpegScans::one_per_channel);
  const std::ptrdiff_t scan = find_marker(endless, kScan);
  const Bytes copy(endless.begin() + scan, endless.begin() + end_of_scan(endless, scan));
  for (int i = 0; i < 250; ++i) endless.insert(endless.begin() + scan, copy.begin(), copy.end());
  CHECK(complaint(endless).ends_with("cannot be decoded: it has more than 200 scans"));
  CHECK(peak_memory() - before < 64);
}

TEST_CASE("an image file that is too large is refused without being read") {
  const TemporaryFolder folder;
  write_bytes(folder.path() / "x.png", png_of(plain(8, 8, {9, 9, 9})));
  fs::resize_file(folder.path() / "x.png", 300'000'000);
  const auto dataset = make<Dataset>("folder", "path = \"" + folder.path().string() + "\"", {ImageShape::square(3, 8)});
  const std::string message = message_of<Error>([&] { dataset->get(0); });
  CHECK_MESSAGE(message.ends_with("x.png has 300000000 bytes; the limit is 268435456"), message);
}
