#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "casdm/value.h"

namespace casdm {

/// A file of whole lines: one JSON object each.
///
/// Appends `line` and a newline. A last line without its newline, which a process that was killed has left, is removed
/// before; when the line cannot be written in full, nothing of it stays. Throws Error. A symbolic link is refused.
void append_line(const std::filesystem::path& file, const std::string& line);

/// Returns when the file's content is on the disk; there need not be one. Throws Error.
void sync_lines(const std::filesystem::path& file);

/// Where the lines end that were written until `images` images were seen: up to the first one whose "images" is
/// larger. Lines that cannot be read belong to the one before them. Throws Error unless the file is a regular one, or
/// there is none.
std::uintmax_t end_of_lines(const std::filesystem::path& file, std::int64_t images);

/// The last line of a resume, whose "resumed" is true; an empty table where there is none. Throws Error when the file
/// cannot be read.
Value last_resume(const std::filesystem::path& file);

}  // namespace casdm
