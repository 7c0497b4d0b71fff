#pragma once

#include <filesystem>
#include <string>

namespace casdm {

/// A self-contained HTML page about a run or a sweep: what its numbers show, every curve of the log, the grids of
/// samples over time, the experiment and how the arms differ, versions and times. The same folder gives the same page.
/// Throws ConfigError if `folder` is neither, Error if it cannot be read.
std::string report_of(const std::filesystem::path& folder);

/// Whether `file` is a page written by this or an earlier version.
bool is_report(const std::filesystem::path& file);

/// Throws ConfigError if `file` exists and is not a page written by this or an earlier version.
void refuse_other_page(const std::string& command, const std::filesystem::path& file);

/// Throws ConfigError if `file` is a page about another run or sweep than `page` is.
void refuse_page_of_another(const std::string& command, const std::filesystem::path& file, const std::string& page);

}  // namespace casdm
