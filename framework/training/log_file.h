#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "casdm/value.h"

namespace casdm {

/// A file of complete lines, one JSON object each.
///
/// Appends `line` and a newline. First removes a last line without a newline, left by a process that was killed; if the
/// line cannot be written completely, none of it stays. Throws Error. Symbolic links are refused.
void append_line(const std::filesystem::path& file, const std::string& line);

/// Returns once the file's content is on disk; the file need not exist. Throws Error.
void sync_lines(const std::filesystem::path& file);

/// The end of the lines written until `images` images were seen: of everything before the first line whose "images" is
/// larger. Unreadable lines belong to the one before them. Throws Error if the file exists and is not a regular file.
std::uintmax_t end_of_lines(const std::filesystem::path& file, std::int64_t images);

/// In a checkpoint's numbers: what the run's log held, see `mark_of_log`.
inline constexpr const char* kLogMark = "log_mark";

/// Identifies the content of a log until now: its "bytes", and the "sha256" of the last of them.
Value mark_of_log(const std::filesystem::path& file);

/// Whether the log, until `images` images were seen, is the one of which `mark` was made then; nothing contradicts it
/// in an empty one. Throws Error if it cannot be read.
bool holds_mark(const std::filesystem::path& file, const Value& mark, std::int64_t images);

/// The last line that records a resume, with "resumed" true; an empty table if there is none. Throws Error if the file
/// cannot be read.
Value last_resume(const std::filesystem::path& file);

}  // namespace casdm
