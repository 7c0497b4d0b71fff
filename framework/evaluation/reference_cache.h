#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace casdm {

/// Keeps the states of references from one evaluation to the next: casdm/references in $CASDM_CACHE, $XDG_CACHE_HOME or
/// ~/.cache. It holds at most $CASDM_CACHE_SIZE bytes ("20G"; 10 GB by default) and drops the least recently used files
/// first. Any number of processes may use it at once: a file removed by one is computed again by another. If the cache
/// cannot be read or written, evaluations only take longer.
class ReferenceCache {
 public:
  /// Throws ConfigError if CASDM_CACHE_SIZE is not a number of bytes.
  ReferenceCache();

  /// The file for this key, a SHA-256. Empty without a cache folder, and with CASDM_CACHE_SIZE = 0.
  std::filesystem::path file(const std::string& key) const;

  /// Marks a file as used just now.
  void touch(const std::filesystem::path& file) const;

  /// Removes files beyond the size limit and reports that on stderr.
  void prune() const;

 private:
  std::filesystem::path folder_;
  std::uintmax_t most_bytes_;
};

}  // namespace casdm
