#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace casdm {

/// One HTML page about a run or a sweep, which needs no network and no other file: what its numbers say, every curve of
/// the log, the grids of samples over time, the experiment and how arms differ, versions and time. The same folder
/// gives the same page. Throws ConfigError when `folder` is neither, Error when it cannot be read.
std::string report_of(const std::filesystem::path& folder);

/// Whether `content` is a page of this or an earlier version.
bool is_report(std::string_view content);

}  // namespace casdm
