#pragma once

#include <cstdint>

#include "framework/training/run_folder.h"

namespace casdm {

/// Makes the folder of a run what it was when `images` images were seen, before the training continues from there: no
/// checkpoint, snapshot, grid or log line of later stays in its place.
///
/// What the run will write again bit for bit is removed. Anything else is moved to RUN/set-aside-<n>: log, grids and
/// snapshots, with what came before as well, and the later checkpoints. Where there are any, that is a run
/// folder of its own, which can be sampled and resumed.
///
/// After a kill at any moment the newest checkpoint is the one that it was before, or that of `images`, and nothing is
/// lost. Throws Error.
/// @param repeats  the training continues as it did: the experiment is the same
void rewind(const RunFolder& run, std::int64_t images, bool repeats);

}  // namespace casdm
