#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "framework/comparison/comparison.h"

namespace casdm {

/// Which files that this program has written may be replaced by new results.
enum class Replaced {
  same_runs,  ///< unedited, and of runs that are all compared again
  unedited,
  any,
};

/// Throws ConfigError if a file in `folder` that write_results would write is somebody else's, or may not be replaced.
void refuse_other_results(const std::filesystem::path& folder, const Comparison& comparison, const std::string& command,
                          Replaced replaced);

/// Writes results.csv and results.json with `all` measures, and results.md and results.tex with the `chosen` ones, into
/// `folder`, which is created. Throws ConfigError as refuse_other_results does, and if the folder belongs to a run;
/// Error if writing fails.
/// @param command  for messages
void write_results(const std::filesystem::path& folder, const Comparison& comparison,
                   const std::vector<MeasureSummary>& all, const std::vector<MeasureSummary>& chosen,
                   const std::string& command, Replaced replaced);

}  // namespace casdm
