#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "framework/comparison/comparison.h"

namespace casdm {

/// Throws ConfigError if a file in `folder` that write_results would write is somebody else's, or was changed since it
/// was written.
void refuse_other_results(const std::filesystem::path& folder, const std::string& command);

/// Writes results.csv and results.json with `all` measures, and results.md and results.tex with the `chosen` ones, into
/// `folder`, which is created. Files of these names are replaced if this program wrote them. Throws ConfigError if one
/// is somebody else's or the folder belongs to a run, Error if writing fails.
/// @param command  for messages
void write_results(const std::filesystem::path& folder, const Comparison& comparison,
                   const std::vector<MeasureSummary>& all, const std::vector<MeasureSummary>& chosen,
                   const std::string& command);

}  // namespace casdm
