#pragma once

#include <optional>

#include "framework/composition/model.h"
#include "framework/distributed/world.h"
#include "framework/training/checkpoint.h"
#include "framework/training/run_folder.h"

namespace casdm {

/// How a training ended.
struct TrainingEnd {
  std::int64_t images = 0;   ///< seen
  bool is_complete = false;  ///< false: stopped by a signal, after a checkpoint
};

/// Trains the experiment in `run`, from `start` if given. If `interrupted()` (see signals.h) becomes true, it saves a
/// checkpoint and stops early, after the current step, or between two parts of its batch, in which case the step is
/// dropped. If anything else ends it, such as a data error or a grid of samples that fails, the state after the last
/// step is saved too, unless it is not finite.
/// @param allow_other_data  continue even if the data, or the weights of a metric, differ from the checkpoint's
/// @param world             the processes that train together; this is the first. All stop if one is interrupted
TrainingEnd train(const LoadedExperiment& experiment, RunFolder& run, std::optional<Checkpoint> start,
                  bool allow_other_data = false, World& world = World::alone());

/// The same in the other processes, which do not access the run's folder: they get the state from the first.
TrainingEnd train_along(const LoadedExperiment& experiment, World& world);

}  // namespace casdm
