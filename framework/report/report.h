#pragma once

#include <filesystem>
#include <string>

namespace casdm {

/// One HTML page about a run or a sweep, which needs no network and no other file: what its numbers say, every curve of
/// the log, the grids of samples over time, the experiment and how arms differ, versions and time. The same folder
/// gives the same page. Throws ConfigError when `folder` is neither, Error when it cannot be read.
std::string report_of(const std::filesystem::path& folder);

/// Whether `file` is a page that this or an earlier version has written.
bool is_report(const std::filesystem::path& file);

/// Throws ConfigError when `file` is there and not a page that this or an earlier version has written.
void refuse_other_page(const std::string& command, const std::filesystem::path& file);

}  // namespace casdm
