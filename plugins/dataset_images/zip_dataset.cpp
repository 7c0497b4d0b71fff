#include "zip_dataset.h"

#include <zip.h>

#include <algorithm>
#include <map>
#include <optional>
#include <span>

#include "casdm/error.h"
#include "casdm/text.h"
#include "decoding.h"
#include "files.h"

namespace casdm::dataset_images {

namespace fs = std::filesystem;

namespace {

std::shared_ptr<zip> open_archive(const fs::path& path) {
  require_exists(path, "a zip archive");
  if (fs::is_directory(path)) {
    throw ConfigError(
        text("path = '", path.string(), "': expected a zip archive, got a folder; type = \"folder\" reads folders"));
  }
  int code = 0;
  zip* archive = zip_open(path.c_str(), ZIP_RDONLY, &code);
  if (archive == nullptr) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    throw Error(text(path.string(), " cannot be read as a zip archive (is it whole?): ", reason));
  }
  return {archive, zip_discard};
}

/// The name of an entry, without the leading "./" that some archivers write.
std::string name_of(zip* archive, std::uint64_t entry) {
  const char* raw_name = zip_get_name(archive, entry, ZIP_FL_ENC_GUESS);
  std::string name = raw_name != nullptr ? raw_name : "";
  while (name.starts_with("./")) name.erase(0, 2);
  return name;
}

}  // namespace

ZipDataset::ZipDataset(const ZipOptions& options, const Spec& spec)
    : path_(options.path), form_{spec, options.exif_orientation}, archive_(open_archive(options.path)) {
  require_channels(spec.image.channels);
  std::map<std::string, std::uint64_t> images;
  std::vector<std::string> others;
  std::optional<std::uint64_t> labels_entry;
  const auto count = static_cast<std::uint64_t>(zip_get_num_entries(archive_.get(), 0));
  for (std::uint64_t entry = 0; entry < count; ++entry) {
    const std::string name = name_of(archive_.get(), entry);
    if (name == "dataset.json") {
      if (labels_entry) fail_twice(path_, name);
      labels_entry = entry;
    } else if (is_image_name(name) && !is_hidden(name)) {
      if (!images.emplace(name, entry).second) fail_twice(path_, name);
    } else if (!name.ends_with('/') && !is_hidden(name)) {
      others.push_back(name);
    }
  }
  if (images.empty()) {
    throw Error(text(path_.string(), " holds no image (", kImageEndings, "); it holds ", some_of(others)));
  }
  left_out_ = left_out_files(others);
  for (const auto& [name, entry] : images) {
    names_.push_back(name);
    entries_.push_back(entry);
  }
  if (labels_entry) {
    const std::string source = text(path_.string(), ":dataset.json");
    const std::vector<std::uint8_t> json = read_entry(*labels_entry, source, json_limit(names_));
    labels_ = labels_from_json({reinterpret_cast<const char*>(json.data()), json.size()}, names_, source);
  }
}

std::vector<std::uint8_t> ZipDataset::read_entry(std::uint64_t entry, const std::string& name,
                                                 std::uint64_t limit) const {
  const std::lock_guard lock(mutex_);
  const auto fail = [&](const std::string& reason) { throw Error(text(name, " cannot be read: ", reason)); };
  zip_stat_t status;
  if (zip_stat_index(archive_.get(), entry, 0, &status) != 0 || (status.valid & ZIP_STAT_SIZE) == 0) {
    fail(zip_strerror(archive_.get()));
  }
  if (status.size > limit) fail(text("it has ", status.size, " bytes; the limit is ", limit));
  const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(zip_fopen_index(archive_.get(), entry, 0), zip_fclose);
  if (!file) fail(zip_strerror(archive_.get()));
  std::vector<std::uint8_t> bytes(status.size +
                                  1);  // one byte more, so that the read reaches the end and checks the CRC
  std::size_t filled = 0;
  while (filled < bytes.size()) {
    const zip_int64_t got = zip_fread(file.get(), bytes.data() + filled, bytes.size() - filled);
    if (got < 0) fail(zip_file_strerror(file.get()));
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  if (filled != status.size) fail("its length differs from the archive's directory");
  bytes.resize(filled);
  return bytes;
}

Example ZipDataset::get(std::int64_t index) const {
  const std::string name = describe(index);
  Example example =
      decode_image(read_entry(entries_.at(static_cast<std::size_t>(index)), name, kMaxFileBytes), form_, name);
  example.label = labels_.at(index);
  return example;
}

std::string ZipDataset::describe(std::int64_t index) const {
  return text(path_.string(), ":", names_.at(static_cast<std::size_t>(index)));
}

}  // namespace casdm::dataset_images
