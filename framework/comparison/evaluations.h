#pragma once

#include <filesystem>

#include "framework/comparison/run_record.h"

namespace casdm {

/// Adds to `run` the scores of its last checkpoint: of the files that `casdm evaluate` has written into the folder's
/// evaluation/, and those of the log that no file has. Where there are several files, of several averages or numbers of
/// steps, the names say which: "JUDGE.SCORE weights=slow". A file that cannot be read is a warning of the run.
void add_evaluations(const std::filesystem::path& folder, RunRecord& run);

}  // namespace casdm
