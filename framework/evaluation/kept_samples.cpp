#include "framework/evaluation/kept_samples.h"

#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/config/key_path.h"
#include "framework/support/files.h"
#include "framework/support/sealed_json.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

std::uint32_t crc32_of_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(text(path.string(), " cannot be read: ", std::strerror(errno)));
  std::vector<char> piece(1 << 20);
  unsigned long found = 0;
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())) || file.gcount() > 0) {
    found =
        ::crc32_z(found, reinterpret_cast<const unsigned char*>(piece.data()), static_cast<std::size_t>(file.gcount()));
  }
  if (file.bad()) throw Error(text(path.string(), " cannot be read to its end"));
  return static_cast<std::uint32_t>(found);
}

}  // namespace

void require_kept_samples(const fs::path& folder) {
  const fs::path record_file = folder / "sampling.json", samples = folder / "samples.npz";
  const Value record = from_json(read_regular_file(record_file, kLargestRecord));
  const Value* is_complete = find_path(record, "drawn.complete");
  if (is_complete == nullptr || *is_complete != Value(true)) {
    throw ConfigError(text("evaluate: the sampling in ", folder.string(), " is not complete; go on with it first"));
  }
  if (!is_there(samples)) {
    throw ConfigError(text("evaluate: ", samples.string(), " is missing, which holds the images of the sampling that ",
                           record_file.string(), " describes; draw them again"));
  }
  const Value* bytes = find_path(record, "drawn.npz.bytes");
  const Value* sum = find_path(record, "drawn.npz.crc32");
  if (bytes == nullptr || sum == nullptr) return;  // of an earlier version
  const auto size = static_cast<std::int64_t>(fs::file_size(samples));
  if (size == bytes->as_integer() && crc32_of_file(samples) == sum->as_integer()) return;
  throw Error(
      text(samples.string(), " is not the file that ", record_file.string(),
           " records: it was replaced or altered. Draw the samples again, or give the NPZ itself to judge it as "
           "it is"));
}

}  // namespace casdm
