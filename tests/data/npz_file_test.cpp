#include "framework/reporting/npz_file.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <zip.h>

#include "casdm/error.h"
#include "framework/support/files.h"
#include "framework/support/sanitizers.h"
#include "support/components.h"
#include "support/full_disk.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

namespace {

/// A valid uncompressed member of a zip; empty if there is none of that name.
std::string read_member(const fs::path& path, const char* name) {
  int problem = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &problem);
  REQUIRE(archive != nullptr);
  zip_stat_t status;
  std::string content;
  if (zip_stat(archive, name, 0, &status) == 0) {
    CHECK(status.comp_method == ZIP_CM_STORE);
    content.resize(status.size + 1);
    zip_file_t* file = zip_fopen(archive, name, 0);
    CHECK(zip_fread(file, content.data(), content.size()) == static_cast<zip_int64_t>(status.size));
    CHECK(zip_fclose(file) == 0);  // its CRC-32 is right
    content.resize(status.size);
  }
  zip_discard(archive);
  return content;
}

at::Tensor some_images(std::int64_t count, std::int64_t first = 0) {
  return at::arange(first, first + count * 3 * 4 * 4, at::kInt).remainder(251).to(at::kByte).reshape({count, 3, 4, 4});
}

std::string bytes_of(const at::Tensor& images) {
  const at::Tensor rows = images.permute({0, 2, 3, 1}).contiguous();
  return {static_cast<const char*>(rows.data_ptr()), rows.nbytes()};
}

const auto kNoLabel = std::function<std::int64_t(std::int64_t)>();

long peak_kilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

}  // namespace

TEST_CASE("an npz has guided-diffusion's arrays and a member that describes them") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "samples.npz";
  NpzFile file(path, 5, 3, 4);
  file.start();
  file.append(some_images(3));
  file.append(some_images(2, 144));
  CHECK(at::equal(file.read(1, 3), some_images(3, 48)));
  file.finish([](std::int64_t index) { return 300 - index; }, "about.json", "{}");
  CHECK_FALSE(fs::exists(file.part()));

  const std::string first = read_member(path, "arr_0.npy");
  const std::size_t start = 10 + static_cast<std::size_t>(static_cast<unsigned char>(first.at(8)));
  CHECK(first.substr(0, 6) == "\x93NUMPY");
  CHECK(start % 64 == 0);
  CHECK(first.substr(10, 60) == "{'descr': '|u1', 'fortran_order': False, 'shape': (5,4,4,3,)");
  CHECK(first.at(start - 1) == '\n');
  CHECK(first.substr(start) == bytes_of(some_images(5)));

  const std::string second = read_member(path, "arr_1.npy");
  CHECK(second.find("'descr': '<i8'") != std::string::npos);
  CHECK(second.find("'shape': (5,)") != std::string::npos);
  CHECK(second.substr(second.size() - 40, 2) == std::string("\x2C\x01", 2));  // 300
  CHECK(second.substr(second.size() - 8, 2) == std::string("\x28\x01", 2));   // 296
  CHECK(read_member(path, "about.json") == "{}");
}

TEST_CASE("an npz without labels has one array, and the same samples give the same bytes however they are split") {
  const TemporaryFolder folder;
  for (const std::int64_t piece : {1, 2, 3, 6}) {
    NpzFile file(folder.path() / std::to_string(piece), 6, 3, 4);
    file.start();
    for (std::int64_t i = 0; i < 6; i += piece) file.append(some_images(piece, 48 * i));
    file.finish(kNoLabel, "about.json", "{}");
  }
  CHECK(read_member(folder.path() / "1", "arr_1.npy").empty());
  for (const char* other : {"2", "3", "6"}) CHECK(read_file(folder.path() / other) == read_file(folder.path() / "1"));
}

TEST_CASE("an npz begun by another process is continued, unless its images are not those that were counted") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "samples.npz";
  std::uint32_t checksum = 0;
  {
    NpzFile whole(folder.path() / "whole.npz", 4, 3, 4);
    whole.start();
    whole.append(some_images(4));
    whole.finish(kNoLabel, "about.json", "{}");
    NpzFile begun(path, 4, 3, 4);
    begun.start();
    begun.append(some_images(2));
    checksum = begun.checksum();
    begun.append(some_images(1, 7));  // not counted any more
  }
  CHECK_FALSE(NpzFile(path, 4, 3, 4).resume(2, checksum + 1));
  CHECK_FALSE(NpzFile(path, 4, 3, 4).resume(-1, checksum));
  CHECK_FALSE(NpzFile(path, 4, 3, 4).resume(5, checksum));
  CHECK_FALSE(NpzFile(folder.path() / "none.npz", 4, 3, 4).resume(0, 0));
  NpzFile file(path, 4, 3, 4);
  REQUIRE(file.resume(2, checksum));
  CHECK(file.images() == 2);
  file.append(some_images(2, 96));
  file.finish(kNoLabel, "about.json", "{}");
  CHECK(read_file(path) == read_file(folder.path() / "whole.npz"));
}

TEST_CASE("any number of images needs only the memory of one piece" * doctest::skip(kIsSanitized)) {
  const TemporaryFolder folder;
  constexpr std::int64_t kPieces = 48, kImages = 80, kSize = 128;  // 3.9 MB a piece, 189 MB in all
  NpzFile file(folder.path() / "samples.npz", kPieces * kImages, 3, kSize);
  file.start();
  const at::Tensor piece = at::full({kImages, 3, kSize, kSize}, 7, at::kByte);
  file.append(piece);
  const long before = peak_kilobytes();
  for (std::int64_t i = 1; i < kPieces; ++i) file.append(piece);
  NpzFile again(folder.path() / "samples.npz", kPieces * kImages, 3, kSize);
  REQUIRE(again.resume(kPieces * kImages, file.checksum()));
  again.finish([](std::int64_t) { return 1; }, "about.json", "{}");
  CHECK(peak_kilobytes() - before < 40000);
  CHECK(fs::file_size(folder.path() / "samples.npz") > 188000000);
}

TEST_CASE("a full disk is detected before the first image, and nothing is left behind") {
  const TemporaryFolder folder;
  NpzFile file(folder.path() / "samples.npz", 1000, 3, 64);
  {
    const FullDisk full(1 << 20);
    CHECK_THROWS_WITH_AS(file.start(), doctest::Contains("1000 images take 12288"), Error);
  }
  CHECK(fs::is_empty(folder.path()));
  CHECK_THROWS_WITH_AS(NpzFile("/nonexistent/x.npz", 1, 3, 4).start(), doctest::Contains("/nonexistent/x.npz"), Error);
}

TEST_CASE("images of another shape are not added to an npz") {
  const TemporaryFolder folder;
  NpzFile file(folder.path() / "samples.npz", 2, 3, 4);
  file.start();
  for (const at::Tensor& wrong : {at::zeros({1, 3, 4, 4}), at::zeros({1, 1, 4, 4}, at::kByte),
                                  at::zeros({1, 3, 4, 5}, at::kByte), at::zeros({3, 3, 4, 4}, at::kByte)}) {
    CHECK_THROWS_AS(file.append(wrong), Error);
  }
  CHECK(file.images() == 0);
}
