#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace casdm {

/// SHA-256 of `content`, hexadecimal.
std::string sha256(std::string_view content);

/// The same of a file's content. Throws Error when it cannot be read.
std::string sha256_of_file(const std::filesystem::path& path);

/// Writes `content` as an AtomicFile. Throws Error when writing fails.
void write_file(const std::filesystem::path& path, std::string_view content);

/// read_regular_file without a bound, for files that this program has written.
std::string read_file(const std::filesystem::path& path);

/// What lies beside the missing `path` under the most similar name; empty when no name is near enough. In a very
/// large folder only some are looked at.
/// @param extension  ".toml": only such files; empty: any name
std::string near_path(const std::filesystem::path& path, std::string_view extension = "");

/// The content of the regular file `path`. Never waits for a pipe or a device. Throws Error when it is
/// not a regular file, cannot be read, or holds more than `most` bytes.
std::string read_regular_file(const std::filesystem::path& path, std::size_t most);

}  // namespace casdm
