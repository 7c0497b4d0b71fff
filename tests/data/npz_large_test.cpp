#include <doctest/doctest.h>
#include <zip.h>
#include <zlib.h>

#include <vector>

#include "framework/reporting/npz_file.h"
#include "support/components.h"

using namespace casdm;
using namespace casdm::testing;
namespace fs = std::filesystem;

TEST_CASE("readers of zip64 accept an npz of more than 4 GiB") {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "samples.npz";
  constexpr std::int64_t kImages = 350, kSize = 2048;  // 4.4 GB of zeros, which the file system does not have to store
  if (fs::space(folder.path()).available < 5000000000) {
    MESSAGE("skipped: the disk has no room for it");
    return;
  }
  NpzFile file(path, kImages, 3, kSize);
  file.start();
  const std::vector<unsigned char> zeros(3 * kSize * kSize);
  const auto of_one = crc32_z(0, zeros.data(), zeros.size());
  uLong checksum = 0;
  for (std::int64_t i = 0; i < kImages; ++i)
    checksum = crc32_combine(checksum, of_one, static_cast<z_off_t>(zeros.size()));
  REQUIRE(file.resume(kImages, static_cast<std::uint32_t>(checksum)));
  file.finish([](std::int64_t index) { return index; }, "about.json", "{}");
  CHECK(fs::file_size(path) > 4400000000);

  int problem = 0;
  zip_t* archive = zip_open(path.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &problem);
  REQUIRE(archive != nullptr);
  const auto size_of = [&](const char* name) {
    zip_stat_t status{};
    CHECK(zip_stat(archive, name, 0, &status) == 0);
    return status.size;
  };
  CHECK(size_of("arr_0.npy") == 128 + zeros.size() * kImages);
  CHECK(size_of("arr_1.npy") == 128 + 8 * kImages);
  // The last member starts beyond 4 GiB.
  char content[3] = {};
  zip_file_t* last = zip_fopen(archive, "about.json", 0);
  CHECK(zip_fread(last, content, sizeof(content)) == 2);
  CHECK(zip_fclose(last) == 0);
  CHECK(std::string(content) == "{}");
  zip_discard(archive);
}
