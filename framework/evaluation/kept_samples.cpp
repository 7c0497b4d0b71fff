#include "framework/evaluation/kept_samples.h"

#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <vector>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/sampling/sampling_record.h"
#include "framework/support/files.h"
#include "framework/support/json_member.h"

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
  const fs::path record_file = folder / kSamplingRecord, samples = folder / kSamplesFile;
  std::optional<NpzFile::Sum> sum;
  try {
    const Value record = read_sampling(folder).value();
    if (!json_member(json_member(record, "drawn"), "complete").as_boolean()) {
      throw ConfigError("the sampling is not complete; go on with it first");
    }
    sum = kept_sum(record);
  } catch (const ConfigError& error) {
    throw ConfigError(text("evaluate: ", record_file.string(), ": ", error.what()));
  } catch (const Error& error) {
    throw Error(text("evaluate: ", record_file.string(), " cannot be used: ", error.what()));
  }
  if (!is_there(samples)) {
    throw ConfigError(text("evaluate: ", samples.string(), " is missing, which holds the images of the sampling that ",
                           record_file.string(), " describes; draw them again"));
  }
  if (!sum) return;  // of an earlier version
  const auto size = static_cast<std::int64_t>(fs::file_size(samples));
  if (size == sum->bytes && crc32_of_file(samples) == sum->crc32) return;
  throw Error(
      text(samples.string(), " is not the file that ", record_file.string(),
           " records: it was replaced or altered. Draw the samples again, or give the NPZ itself to judge it as "
           "it is"));
}

}  // namespace casdm
