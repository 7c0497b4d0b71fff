#pragma once

#include <cstdint>

#include "framework/training/checkpoint.h"
#include "framework/training/run_folder.h"

namespace casdm {

/// Restores the state that the folder of a run had when `images` images were seen, before the training continues from
/// there: no later checkpoint, snapshot, grid or log line stays in its place.
///
/// Files that the run will write again bit for bit are removed. Anything else is moved to RUN/set-aside-<n>: the later
/// checkpoints, and the log, grids and snapshots, including a copy of the earlier ones. If there are checkpoints among
/// them, that is a complete run folder, which can be sampled and resumed.
///
/// After a kill at any point, the newest checkpoint is the previous one or that of `images`, and nothing is lost.
/// Throws Error.
/// @param repeats  the training continues as it did before: the experiment is the same
void rewind(const RunFolder& run, std::int64_t images, bool repeats);

/// The run's own checkpoint of the same state, RUN/checkpoints/<images>. If `checkpoint` has another name, as a copy
/// that the user keeps, there may be none: then one is made, from which the run goes on after a kill.
///
/// Throws ConfigError, before anything is changed, if the run's folder holds the past of another branch, so that its
/// log, snapshots and earlier checkpoints would not be those of `checkpoint`.
std::filesystem::path own_checkpoint(const RunFolder& run, const Checkpoint& checkpoint);

}  // namespace casdm
