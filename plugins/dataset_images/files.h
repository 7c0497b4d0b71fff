#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace casdm::dataset_images {

/// A file below a folder.
struct FoundFile {
  std::string name;  ///< relative to the folder, with forward slashes
  std::filesystem::path path;
};

/// Throws ConfigError if `path` does not exist, with the names beside it, or if it is something that can block when it
/// is opened.
/// @param what  what was looked for: "the zip archive"
void require_exists(const std::filesystem::path& path, const std::string& what);

/// The files below `folder` in the bytewise order of their names. Links are followed; names that begin with a dot are
/// left out. Throws Error if a folder cannot be read, a link is broken, or something is neither a file nor a folder,
/// such as a pipe: otherwise training would silently lack an image.
std::vector<FoundFile> list_files(const std::filesystem::path& folder);

/// The last part of a name: "c" of "a/b/c".
std::string_view file_name(std::string_view name);

/// Whether an entry of an archive is not meant as data: a folder that an archiver made for itself, or a hidden file.
bool is_hidden(std::string_view name);

/// The first few of many names in bytewise order, for messages, without memory for the others.
class SomeNames {
 public:
  void add(const std::string& name);

  /// "a, b, c and 12 more", or "nothing".
  std::string shown() const;

 private:
  std::multiset<std::string> first_;
  std::uint64_t count_ = 0;
};

/// The names in `folder`, for messages: "a, b, c and 12 more", or "nothing".
std::string contents_of(const std::filesystem::path& folder);

/// The first few of `names`, for messages: "a, b, c and 12 more", or "nothing".
std::string some_of(const std::vector<std::string>& names);

/// For Dataset::left_out, about files that are not read: "38 other files left out (.webp, .gif)"; empty if there are
/// none.
std::string left_out_files(const std::vector<std::string>& names);

/// Throws Error: two files of `archive` have this name.
[[noreturn]] void fail_twice(const std::filesystem::path& archive, const std::string& name);

/// Distinguishes a file from one that has replaced it, and from what it was before it was written to.
struct FileVersion {
  std::uint64_t inode = 0;
  std::int64_t size = 0;
  std::int64_t seconds = 0;  ///< of the last change
  std::int64_t nanoseconds = 0;

  bool operator==(const FileVersion&) const = default;
};

/// Of an open file, or of the one at `path`. Throws Error with its name.
FileVersion version_of(int file, const std::string& name);
FileVersion version_of(const std::filesystem::path& path);

/// Throws Error: another program has written to `name`, so that what is read no longer belongs together.
[[noreturn]] void fail_changed(const std::string& name);

/// The whole file; throws Error with its name if it cannot be read or is larger than `limit` bytes.
std::vector<std::uint8_t> read_bytes(const std::filesystem::path& path, std::uint64_t limit);

/// Throws ConfigError unless images with `channels` channels are supported: 3 for RGB, 1 for grey.
void require_channels(std::int64_t channels);

}  // namespace casdm::dataset_images
