#pragma once

#include <filesystem>
#include <string>

namespace casdm {

/// A self-contained HTML page about a run or a sweep: what its numbers show, every curve of the log, the grids of
/// samples over time, the experiment and how the arms differ, versions and times. The same folder gives the same page.
/// Throws ConfigError if `folder` is neither, Error if it cannot be read.
std::string report_of(const std::filesystem::path& folder);

}  // namespace casdm
