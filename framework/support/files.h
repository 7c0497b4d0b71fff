#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace casdm {

/// SHA-256 of `content`, hexadecimal.
std::string sha256(std::string_view content);

/// The SHA-256 of a file's content. Throws Error if it cannot be read.
std::string sha256_of_file(const std::filesystem::path& path);

/// Writes `content` through an AtomicFile. Throws Error if writing fails.
void write_file(const std::filesystem::path& path, std::string_view content);

/// Like read_regular_file without a limit, for files that this program wrote.
std::string read_file(const std::filesystem::path& path);

/// Links the file into another folder, or copies it if the file system has no links; of a symbolic link the content.
/// Throws Error.
void link_or_copy(const std::filesystem::path& file, const std::filesystem::path& folder);

/// Whether something exists at `path`, links followed; false where that cannot be found out.
bool is_there(const std::filesystem::path& path);

/// The entry with the most similar name beside the missing `path`; empty if none is similar enough. In a very large
/// folder only some are considered.
/// @param extension  ".toml": only files with it; empty: any name
std::string near_path(const std::filesystem::path& path, std::string_view extension = "");

/// The content of the regular file `path`. Never blocks on a pipe or a device. Throws Error if it is not a regular
/// file, cannot be read, or has more than `most` bytes.
std::string read_regular_file(const std::filesystem::path& path, std::size_t most);

}  // namespace casdm
