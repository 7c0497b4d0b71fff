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

/// The whole content of `path`; throws Error when it cannot be read.
std::string read_file(const std::filesystem::path& path);

}  // namespace casdm
