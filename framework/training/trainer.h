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

/// Trains the experiment in `run`, from `start` when given. Stops early once `interrupted()` (see signals.h) is true,
/// after the step, or between two parts of its batch and without it, and after saving a checkpoint. When anything else
/// ends it, a data error or a grid of samples that fails, the state after the last step is saved too, unless that is
/// not finite.
/// @param allow_other_data  continue although the data, or the weights of a metric, are not the checkpoint's
/// @param world             the processes that train it together; this is the first. All stop when one is interrupted
TrainingEnd train(const LoadedExperiment& experiment, RunFolder& run, std::optional<Checkpoint> start,
                  bool allow_other_data = false, World& world = World::alone());

/// The same in the other processes, which read and write no run: they take the state over from the first.
TrainingEnd train_along(const LoadedExperiment& experiment, World& world);

}  // namespace casdm
