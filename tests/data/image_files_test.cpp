#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <png.h>
#include <signal.h>
#include <sys/resource.h>
#include <zip.h>

#include <fstream>
#include <iterator>

#include "casdm/error.h"
#include "framework/reporting/image_files.h"
#include "support/components.h"

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

/// An uncompressed member of a zip.
std::string read_member(const fs::path& path, const char* name) {
  zip_t* archive = zip_open(path.c_str(), ZIP_RDONLY, nullptr);
  REQUIRE(archive != nullptr);
  zip_stat_t status;
  std::string content;
  if (zip_stat(archive, name, 0, &status) == 0) {
    CHECK(status.comp_method == ZIP_CM_STORE);
    content.resize(status.size);
    zip_file_t* file = zip_fopen(archive, name, 0);
    CHECK(zip_fread(file, content.data(), content.size()) == static_cast<zip_int64_t>(content.size()));
    zip_fclose(file);
  }
  zip_discard(archive);
  return content;
}

/// Makes writes beyond `bytes` fail, as a full disk does.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : handler_(signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    rlimit limit = old_;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &old_);
    signal(SIGXFSZ, handler_);
  }

 private:
  rlimit old_{};
  void (*handler_)(int);
};

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

TEST_CASE("images are numbered files") {
  const TemporaryFolder folder;
  const at::Tensor images = some_images(3, 3, 2, 2);
  write_pngs(folder.path(), images, 99);
  CHECK(files_in(folder.path()) == 3);
  CHECK(read_png(folder.path() / "000101.png", 3).pixels == to_image(images[2]).pixels);
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

TEST_CASE("an npz has guided-diffusion's arrays") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "samples.npz";
  const at::Tensor images = some_images(3, 3, 4, 5);
  write_npz(path, images, at::tensor({7, -1, 300}, at::kLong));

  const std::string first = read_member(path, "arr_0.npy");
  const std::size_t start = 10 + static_cast<std::size_t>(static_cast<unsigned char>(first.at(8)));
  CHECK(first.substr(0, 6) == "\x93NUMPY");
  CHECK(start % 64 == 0);
  CHECK(first.substr(10, 60) == "{'descr': '|u1', 'fortran_order': False, 'shape': (3,4,5,3,)");
  CHECK(first.at(start - 1) == '\n');
  const at::Tensor nhwc = images.permute({0, 2, 3, 1}).contiguous();
  CHECK(first.substr(start) == std::string(reinterpret_cast<const char*>(nhwc.data_ptr()), nhwc.nbytes()));

  const std::string second = read_member(path, "arr_1.npy");
  CHECK(second.find("'descr': '<i8'") != std::string::npos);
  CHECK(second.find("'shape': (3,)") != std::string::npos);
  CHECK(second.substr(second.size() - 8, 2) == std::string("\x2C\x01", 2));  // 300
}

TEST_CASE("an npz without labels has one array, and the same samples make the same bytes") {
  const TemporaryFolder folder;
  write_npz(folder.path() / "a.npz", some_images(1, 1, 2, 2));
  write_npz(folder.path() / "b.npz", some_images(1, 1, 2, 2));
  CHECK(read_member(folder.path() / "a.npz", "arr_1.npy").empty());
  const auto content = [&](const char* name) {
    std::ifstream file(folder.path() / name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  CHECK(content("a.npz") == content("b.npz"));
}

TEST_CASE("a full disk leaves nothing behind, and an older file as it was") {
  const TemporaryFolder folder;
  const at::Tensor small = some_images(1, 3, 2, 2), large = at::randint(256, {4, 3, 64, 64}, at::kByte);
  write_png(folder.path() / "x.png", to_image(small[0]));
  write_npz(folder.path() / "x.npz", small);
  const auto size = fs::file_size(folder.path() / "x.npz");
  {
    const FullDisk full(4096);
    CHECK_THROWS_AS(write_png(folder.path() / "x.png", to_image(large[0])), Error);
    CHECK_THROWS_AS(write_npz(folder.path() / "x.npz", large), Error);
    CHECK_THROWS_AS(write_npz(folder.path() / "new.npz", large), Error);
  }
  CHECK(read_png(folder.path() / "x.png", 3).pixels == to_image(small[0]).pixels);
  CHECK(fs::file_size(folder.path() / "x.npz") == size);
  CHECK(files_in(folder.path()) == 2);
}

TEST_CASE("files in a folder that is not there fail by name") {
  const Image image{1, 1, 1, {0}};
  CHECK_THROWS_WITH_AS(write_png("/nonexistent/x.png", image), doctest::Contains("/nonexistent/x.png"), Error);
  CHECK_THROWS_WITH_AS(write_npz("/nonexistent/x.npz", some_images(1, 1, 2, 2)),
                       doctest::Contains("/nonexistent/x.npz"), Error);
}

TEST_CASE("tensors that are no images are refused") {
  CHECK_THROWS_AS(image_grid(at::zeros({1, 3, 2, 2})), Error);
  CHECK_THROWS_AS(image_grid(at::zeros({0, 3, 2, 2}, at::kByte)), Error);
  CHECK_THROWS_AS(write_npz("unused.npz", at::zeros({1, 2, 2, 2}, at::kByte)), Error);
}
