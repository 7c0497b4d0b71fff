#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string_view>
#include <vector>

#include "casdm/value.h"
#include "framework/comparison/run_record.h"

namespace casdm {

/// Adds to `run` the scores of its last checkpoint: those in the files that `casdm evaluate` wrote into the folder's
/// evaluation/, and those in the log that are in none of the files. If files were measured differently, the names say
/// how (see `tell_apart`); if several were measured the same way, the newest counts. An unreadable file becomes a
/// warning of the run.
void add_evaluations(const std::filesystem::path& folder, RunRecord& run);

/// The scores of the run's other checkpoints, such as the best one, by number of images.
std::map<std::int64_t, std::vector<Measure>> other_evaluations(const std::filesystem::path& folder,
                                                               const RunRecord& run);

/// What `casdm evaluate RUN` stores in the folder besides scores: "floor", what real images score against others, or
/// "nearest", the images of the reference that are nearest to samples. The records in order of file name. Unreadable
/// files are left out.
std::vector<Value> kept_records(const std::filesystem::path& folder, std::string_view what);

}  // namespace casdm
