#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace casdm::dataset_images {

/// A file below a folder.
struct FoundFile {
  std::string name;  ///< relative to the folder, with forward slashes
  std::filesystem::path path;
};

/// Throws ConfigError when there is nothing at `path`, naming what lies beside it, or what can block whoever opens it.
/// @param what  what was looked for: "the zip archive"
void require_exists(const std::filesystem::path& path, const std::string& what);

/// The files below `folder` in the bytewise order of their names. Links are followed, names that
/// begin with a point are left out. Throws Error when a folder cannot be read, a link leads nowhere, or something is
/// neither a file nor a folder, such as a pipe: an image left out in silence is one that a training lacks.
std::vector<FoundFile> list_files(const std::filesystem::path& folder);

/// The last part of a name: "c" of "a/b/c".
std::string_view file_name(std::string_view name);

/// The names in `folder`, for messages: "a, b, c and 12 more", or "nothing".
std::string contents_of(const std::filesystem::path& folder);

/// The first few of `names`, for messages: "a, b, c and 12 more", or "nothing".
std::string some_of(std::vector<std::string> names);

/// Files that are not read, for Dataset::left_out: "38 other files left out (.webp, .gif)"; empty when there are none.
std::string left_out_files(const std::vector<std::string>& names);

/// Throws Error: two files of `archive` have this name.
[[noreturn]] void fail_twice(const std::filesystem::path& archive, const std::string& name);

/// The whole file; throws Error naming it when it cannot be read or is larger than `limit` bytes.
std::vector<std::uint8_t> read_bytes(const std::filesystem::path& path, std::uint64_t limit);

/// Throws ConfigError unless images of `channels` channels can be delivered: 3 RGB, 1 grey.
void require_channels(std::int64_t channels);

}  // namespace casdm::dataset_images
