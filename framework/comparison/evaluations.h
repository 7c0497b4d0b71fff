#pragma once

#include <filesystem>
#include <vector>

#include "casdm/value.h"
#include "framework/comparison/run_record.h"

namespace casdm {

/// Adds to `run` the scores of its last checkpoint: of the files that `casdm evaluate` has written into the folder's
/// evaluation/, and those of the log that no file has. Where there are several files, of several averages or numbers of
/// steps, the names say which: "JUDGE.SCORE weights=slow". A file that cannot be read is a warning of the run.
void add_evaluations(const std::filesystem::path& folder, RunRecord& run);

/// What real images scored against others, as `casdm evaluate RUN --floor` has kept it in the folder: records, by the
/// names of their files. A file that cannot be read is left out.
std::vector<Value> kept_floors(const std::filesystem::path& folder);

}  // namespace casdm
