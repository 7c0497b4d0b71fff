#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string_view>
#include <vector>

#include "casdm/value.h"
#include "framework/comparison/run_record.h"

namespace casdm {

/// Adds to `run` the scores of its last checkpoint: of the files that `casdm evaluate` has written into the folder's
/// evaluation/, and those of the log that no file has. Where several files measured otherwise, the names say how (see
/// `tell_apart`); of several that measured alike, the newest counts. A file that cannot be read is a warning of the
/// run.
void add_evaluations(const std::filesystem::path& folder, RunRecord& run);

/// The scores of the run's other checkpoints, such as the best one, by their images.
std::map<std::int64_t, std::vector<Measure>> other_evaluations(const std::filesystem::path& folder,
                                                               const RunRecord& run);

/// What `casdm evaluate RUN` has kept in the folder beside scores: "floor", what real images scored against others, or
/// "nearest", which images of the reference are nearest to samples. Records by the names of their files. A file that
/// cannot be read is left out.
std::vector<Value> kept_records(const std::filesystem::path& folder, std::string_view what);

}  // namespace casdm
