#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <png.h>

#include <cstdio>
#include <iterator>
#include <map>

#include "casdm/error.h"
#include "framework/reporting/image_files.h"
#include "framework/support/files.h"
#include "support/components.h"
#include "support/full_disk.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

Image read_png(const fs::path& path, std::int64_t channels) {
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  REQUIRE(png_image_begin_read_from_file(&header, path.c_str()) != 0);
  header.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  Image image{header.width, header.height, channels, std::vector<std::uint8_t>(PNG_IMAGE_SIZE(header))};
  REQUIRE(png_image_finish_read(&header, nullptr, image.pixels.data(), 0, nullptr) != 0);
  return image;
}

/// The text in a PNG: keyword and content.
std::map<std::string, std::string> text_of(const fs::path& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  REQUIRE(file != nullptr);
  png_structp reader = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(reader);
  png_init_io(reader, file);
  png_read_info(reader, info);
  png_textp texts = nullptr;
  int count = 0;
  png_get_text(reader, info, &texts, &count);
  std::map<std::string, std::string> result;
  for (int i = 0; i < count; ++i) result[texts[i].key] = texts[i].text;
  png_destroy_read_struct(&reader, &info, nullptr);
  std::fclose(file);
  return result;
}

std::ptrdiff_t files_in(const fs::path& folder) {
  return std::distance(fs::directory_iterator(folder), fs::directory_iterator());
}

at::Tensor some_images(std::int64_t count, std::int64_t channels, std::int64_t height, std::int64_t width) {
  return at::arange(count * channels * height * width, at::kInt)
      .remainder(251)
      .to(at::kByte)
      .reshape({count, channels, height, width});
}

}  // namespace

TEST_CASE("a PNG comes back as it was written") {
  const TemporaryFolder folder;
  for (const std::int64_t channels : {1, 3}) {
    const Image image = to_image(some_images(1, channels, 5, 7)[0]);
    write_png(folder.path() / "x.png", image);
    const Image back = read_png(folder.path() / "x.png", channels);
    CHECK(back.width == 7);
    CHECK(back.height == 5);
    CHECK(back.pixels == image.pixels);
  }
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("a PNG can contain text in any language without changing its pixels") {
  const TemporaryFolder folder;
  const Image image = to_image(some_images(1, 3, 5, 7)[0]);
  const std::map<std::string, std::string> about = {{"casdm", R"({"seed":1,"run":"runs/a"})"},
                                                    {"Comment", "L\u00e4ufe/\u732b"}};
  write_png(folder.path() / "x.png", image, {about.begin(), about.end()});
  CHECK(text_of(folder.path() / "x.png") == about);
  CHECK(read_png(folder.path() / "x.png", 3).pixels == image.pixels);
  CHECK(read_file(folder.path() / "x.png") == encode_png(image, {about.begin(), about.end()}));
}

TEST_CASE("to_image turns planes into pixels") {
  const Image image = to_image(at::tensor({1, 2, 3, 4, 5, 6}, at::kByte).reshape({3, 1, 2}));
  CHECK(image.width == 2);
  CHECK(image.pixels == std::vector<std::uint8_t>{1, 3, 5, 2, 4, 6});
}

TEST_CASE("a grid lays images out row by row with white between them") {
  const at::Tensor images = at::stack(
      {at::full({1, 2, 3}, 10, at::kByte), at::full({1, 2, 3}, 20, at::kByte), at::full({1, 2, 3}, 30, at::kByte)});
  const Image grid = image_grid(images, 2);
  CHECK(grid.width == 2 * (6 + 2) + 2);
  CHECK(grid.height == 2 * (4 + 2) + 2);
  const auto pixel = [&](std::int64_t x, std::int64_t y) {
    return grid.pixels[static_cast<std::size_t>(y * grid.width + x)];
  };
  CHECK(pixel(0, 0) == 255);
  CHECK(pixel(2, 2) == 10);
  CHECK(pixel(7, 5) == 10);
  CHECK(pixel(8, 5) == 255);
  CHECK(pixel(10, 2) == 20);
  CHECK(pixel(2, 8) == 30);
  CHECK(pixel(10, 8) == 255);  // no fourth image
}

TEST_CASE("a full disk leaves nothing behind, and an older file unchanged") {
  const TemporaryFolder folder;
  const at::Tensor small = some_images(1, 3, 2, 2), large = at::randint(256, {4, 3, 64, 64}, at::kByte);
  write_png(folder.path() / "x.png", to_image(small[0]));
  {
    const FullDisk full(4096);
    CHECK_THROWS_AS(write_png(folder.path() / "x.png", to_image(large[0])), Error);
  }
  CHECK(read_png(folder.path() / "x.png", 3).pixels == to_image(small[0]).pixels);
  CHECK(files_in(folder.path()) == 1);
}

TEST_CASE("writing a PNG into a missing folder fails with its name") {
  const Image image{1, 1, 1, {0}};
  CHECK_THROWS_WITH_AS(write_png("/nonexistent/x.png", image), doctest::Contains("/nonexistent/x.png"), Error);
}

TEST_CASE("tensors that are not images are refused") {
  CHECK_THROWS_AS(image_grid(at::zeros({1, 3, 2, 2})), Error);
  CHECK_THROWS_AS(image_grid(at::zeros({0, 3, 2, 2}, at::kByte)), Error);
}
