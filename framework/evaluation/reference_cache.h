#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace casdm {

/// Where the states of references are kept from one evaluation to the next: casdm/references in $CASDM_CACHE,
/// $XDG_CACHE_HOME or ~/.cache. It holds at most $CASDM_CACHE_SIZE bytes ("20G"; 10 GB where that is not set): what was
/// not used for the longest goes first. Any number of processes may use it at once: a file that one removes is computed
/// again by another. A cache that cannot be read or written is only less fast.
class ReferenceCache {
 public:
  /// Throws ConfigError when CASDM_CACHE_SIZE is not a number of bytes.
  ReferenceCache();

  /// The file of this key, a SHA-256. Empty without a folder, or when the cache may not hold anything.
  std::filesystem::path file(const std::string& key) const;

  /// Notes that a file was used now.
  void touch(const std::filesystem::path& file) const;

  /// Removes what is beyond the size, and says so on stderr.
  void prune() const;

 private:
  std::filesystem::path folder_;
  std::uintmax_t most_bytes_;
};

}  // namespace casdm
