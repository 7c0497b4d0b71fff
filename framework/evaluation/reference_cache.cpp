#include "framework/evaluation/reference_cache.h"

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <utility>
#include <vector>

#include "casdm/error.h"
#include "casdm/options.h"
#include "casdm/text.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

constexpr const char* kSize = "CASDM_CACHE_SIZE";
constexpr std::uintmax_t kMostBytes = 10'000'000'000;
constexpr std::size_t kKeyLength = 64;

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

fs::path folder_of_cache() {
  if (const std::string own = from_environment("CASDM_CACHE"); !own.empty()) return fs::path(own) / "references";
  if (const std::string all = from_environment("XDG_CACHE_HOME"); !all.empty())
    return fs::path(all) / "casdm" / "references";
  if (const std::string home = from_environment("HOME"); !home.empty())
    return fs::path(home) / ".cache" / "casdm" / "references";
  return {};
}

std::uintmax_t size_of_cache() {
  const std::string given = from_environment(kSize);
  if (given.empty()) return kMostBytes;
  try {
    const Count count = read_count(Value(given));
    if (count.value >= 0) return static_cast<std::uintmax_t>(count.value);
  } catch (const ConfigError&) {  // reported below
  }
  throw ConfigError(
      text(kSize, " = ", quoted(given), ": expected a number of bytes, such as 500M or 20G; 0 keeps nothing"));
}

/// Whether the name has the form of this program's files.
bool is_ours(const fs::path& file) {
  const std::string key = file.stem().string(), ending = file.extension().string();
  return key.size() == kKeyLength && key.find_first_not_of("0123456789abcdef") == std::string::npos &&
         (ending == ".safetensors" || ending == ".state");
}

struct Kept {
  fs::path path;
  fs::file_time_type used;
  std::uintmax_t bytes = 0;
};

/// The files in the folder, most recently used first.
std::vector<Kept> kept_in(const fs::path& folder) {
  std::vector<Kept> files;
  std::error_code failure;
  for (fs::directory_iterator entry(folder, failure), end; !failure && entry != end; entry.increment(failure)) {
    std::error_code gone;
    if (!is_ours(entry->path()) || !entry->is_regular_file(gone)) continue;
    Kept kept{entry->path(), entry->last_write_time(gone), 0};
    if (!gone) kept.bytes = entry->file_size(gone);
    if (!gone) files.push_back(std::move(kept));
  }
  std::sort(files.begin(), files.end(), [](const Kept& a, const Kept& b) { return a.used > b.used; });
  return files;
}

}  // namespace

ReferenceCache::ReferenceCache() : folder_(folder_of_cache()), most_bytes_(size_of_cache()) {}

fs::path ReferenceCache::file(const std::string& key) const {
  return folder_.empty() || most_bytes_ == 0 ? fs::path() : folder_ / (key + ".safetensors");
}

void ReferenceCache::touch(const fs::path& file) const {
  std::error_code ignored;
  fs::last_write_time(file, fs::file_time_type::clock::now(), ignored);
}

void ReferenceCache::prune() const {
  std::uintmax_t held = 0;
  std::size_t removed = 0;
  for (const Kept& kept : kept_in(folder_)) {
    held += kept.bytes;
    std::error_code failure;
    if (held > most_bytes_ && fs::remove(kept.path, failure)) ++removed;
  }
  if (removed == 0) return;
  std::cerr << "the cache " << folder_.string() << " is full: " << removed
            << (removed == 1 ? " file that was" : " files that were") << " not used for the longest "
            << (removed == 1 ? "is" : "are") << " removed from it; " << kSize << " (" << most_bytes_
            << " bytes) says how much it holds\n";
}

}  // namespace casdm
