#include "casdm/prepare_image.h"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <cmath>
#include <cstdlib>

#include "casdm/error.h"
#include "casdm/random.h"
#include "framework/support/sanitizers.h"

using namespace casdm;

namespace {

Image noise(std::int64_t width, std::int64_t height, std::int64_t channels) {
  Image image{width, height, channels, {}};
  for (std::int64_t i = 0; i < width * height * channels; ++i) {
    image.pixels.push_back(static_cast<std::uint8_t>(splitmix64(static_cast<std::uint64_t>(i)) >> 56));
  }
  return image;
}

int pixel(const Image& image, std::int64_t x, std::int64_t y, std::int64_t c = 0) {
  return image.pixels[static_cast<std::size_t>((y * image.width + x) * image.channels + c)];
}

}  // namespace

TEST_CASE("an image of the right size comes back unchanged") {
  const Image image = noise(16, 16, 3);
  CHECK(prepare_image(image, {ImageShape::square(3, 16)}).pixels == image.pixels);
}

TEST_CASE("for a size of 0 the whole image comes back, with the requested channels") {
  const Image image = noise(21, 16, 3), whole = prepare_image(image, {ImageShape::square(3, 0)});
  CHECK(whole.width == 21);
  CHECK(whole.height == 16);
  CHECK(whole.pixels == image.pixels);
  CHECK(prepare_image(image, {ImageShape::square(1, 0)}).pixels.size() == 21 * 16);
}

TEST_CASE("an image of the right height is only cropped") {
  const Image image = noise(21, 16, 3), result = prepare_image(image, {ImageShape::square(3, 16)});
  for (std::int64_t y = 0; y < 16; ++y) {
    for (std::int64_t x = 0; x < 16; ++x) REQUIRE(pixel(result, x, y, 1) == pixel(image, x + 2, y, 1));
  }
}

TEST_CASE("a single colour stays the same at any size") {
  for (const auto& [width, height] : {std::pair{100, 37}, {37, 100}, {33, 33}, {5, 9}, {1, 1}, {64, 64}, {1000, 3}}) {
    const std::vector<std::uint8_t> colour = {255, 131, 0};
    Image image{width, height, 3, {}};
    for (int i = 0; i < width * height; ++i) image.pixels.insert(image.pixels.end(), colour.begin(), colour.end());
    const Image result = prepare_image(image, {ImageShape::square(3, 16)});
    REQUIRE(result.width == 16);
    REQUIRE(result.height == 16);
    for (std::size_t i = 0; i < result.pixels.size(); ++i) REQUIRE(result.pixels[i] == colour[i % 3]);
  }
}

TEST_CASE("at half the size, each pixel is the mean of two by two pixels") {
  const Image image = noise(32, 32, 3), result = prepare_image(image, {ImageShape::square(3, 16)});
  for (std::int64_t y = 0; y < 16; ++y) {
    for (std::int64_t x = 0; x < 16; ++x) {
      const double mean = (pixel(image, 2 * x, 2 * y) + pixel(image, 2 * x + 1, 2 * y) +
                           pixel(image, 2 * x, 2 * y + 1) + pixel(image, 2 * x + 1, 2 * y + 1)) /
                          4.0;
      REQUIRE(std::abs(pixel(result, x, y) - mean) <= 1);  // rounded once in each direction
    }
  }
}

TEST_CASE("the bicubic filter keeps a ramp a ramp") {
  Image image{48, 48, 1, {}};
  for (int i = 0; i < 48 * 48; ++i) image.pixels.push_back(static_cast<std::uint8_t>(5 * (i % 48)));
  const Image result = prepare_image(image, {ImageShape::square(1, 32)});
  // Output centre x + 1/2 is input centre 1.5 (x + 1/2); excluding the borders, where taps are cut off.
  for (std::int64_t x = 2; x < 30; ++x) {
    REQUIRE(std::abs(pixel(result, x, 7) - 5 * (1.5 * (static_cast<double>(x) + 0.5) - 0.5)) <= 1);
  }
}

TEST_CASE("the result equals guided-diffusion's center_crop_arr") {
  // Adler-32 of the pixels that Pillow 11.3's resize gives in that order of operations for noise(width, height, 3).
  struct Case {
    std::int64_t width, height, size;
    std::uint32_t checksum;
  };
  for (const Case& c : {Case{32, 32, 16, 0x660A7E72U}, Case{48, 48, 32, 0x6934F414U}, Case{61, 47, 32, 0x7EBCF84CU},
                        Case{47, 61, 16, 0xB6AA7EEDU}, Case{101, 67, 16, 0xCD9380A6U}, Case{7, 5, 16, 0x2B4CB503U},
                        Case{131, 64, 32, 0xE43DF9CCU}, Case{33, 200, 8, 0x18DA6226U}, Case{16, 16, 16, 0xAFE47C89U}}) {
    std::uint32_t a = 1, b = 0;
    for (const std::uint8_t byte : prepare_image(noise(c.width, c.height, 3), {ImageShape::square(3, c.size)}).pixels) {
      a = (a + byte) % 65521;
      b = (b + a) % 65521;
    }
    CHECK_MESSAGE((b << 16 | a) == c.checksum, c.width, " x ", c.height, " to ", c.size);
  }
}

TEST_CASE("channels convert: grey repeats, RGB becomes luma") {
  const Image grey{1, 1, 1, {77}};
  CHECK(prepare_image(grey, {ImageShape::square(3, 1)}).pixels == std::vector<std::uint8_t>{77, 77, 77});
  const Image green{1, 1, 3, {0, 255, 0}};
  CHECK(prepare_image(green, {ImageShape::square(1, 1)}).pixels == std::vector<std::uint8_t>{150});  // 0.587 * 255
}

TEST_CASE("an image that contradicts itself is refused") {
  CHECK_THROWS_AS(prepare_image(Image{2, 2, 3, {1, 2, 3}}, {ImageShape::square(3, 2)}), Error);
  CHECK_THROWS_AS(prepare_image(Image{0, 0, 3, {}}, {ImageShape::square(3, 2)}), Error);
  CHECK_THROWS_AS(prepare_image(Image{1, 1, 2, {1, 2}}, {ImageShape::square(3, 1)}), Error);
}

TEST_CASE("the bytes of an image are counted before anything is made for its size") {
  const std::int64_t huge = std::int64_t{1} << 40;
  CHECK_THROWS_WITH_AS(
      prepare_image(Image{huge, huge, 3, std::vector<std::uint8_t>(1200)}, {ImageShape::square(3, 16)}),
      "an image of 1099511627776 x 1099511627776 pixels and 3 channels has 1200 bytes", Error);
  // 2^64 bytes, which a product of 64 bits takes for none.
  CHECK_THROWS_WITH_AS(prepare_image(Image{huge, 1 << 24, 1, {}}, {ImageShape::square(3, 16)}),
                       "an image of 1099511627776 x 16777216 pixels and 1 channels has 0 bytes", Error);
}

TEST_CASE("rows that are missing, too many or of another length are refused") {
  const std::vector<std::uint8_t> row(6);
  ImagePreparer preparer(2, 2, 3, {ImageShape::square(3, 2)});
  preparer.add_row(row);
  CHECK_THROWS_WITH_AS(preparer.finish(), "an image of 2 rows has 1", Error);
  CHECK_THROWS_AS(preparer.add_row(std::vector<std::uint8_t>(7)), Error);
  ImagePreparer full(2, 1, 3, {ImageShape::square(3, 2)});
  full.add_row(row);
  CHECK_THROWS_AS(full.add_row(row), Error);
}

TEST_CASE("preparing an image needs memory only for what is kept, however thin, tall or large the image" *
          doctest::skip(kIsSanitized)) {
  const auto peak = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;  // in KiB
  };
  const long before = peak();
  // The first would be resized to 256 x 256,000,000, the last has 3 GB.
  for (const auto& [width, height] : {std::pair{1, 1'000'000}, {1'000'000, 1}, {500, 100'000}, {100'000, 10'000}}) {
    ImagePreparer preparer(width, height, 3, {ImageShape::square(3, 256)});
    const std::vector<std::uint8_t> row(static_cast<std::size_t>(width) * 3, 7);
    for (int y = 0; y < height; ++y) preparer.add_row(row);
    const Image image = preparer.finish();
    REQUIRE(image.pixels == std::vector<std::uint8_t>(256 * 256 * 3, 7));
  }
  CHECK(peak() - before < 32 * 1024);
}
