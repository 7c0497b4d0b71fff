#pragma once

#include <optional>

#include "framework/composition/model.h"
#include "framework/training/checkpoint.h"
#include "framework/training/run_folder.h"

namespace casdm {

/// How a training ended.
struct TrainingEnd {
  std::int64_t images = 0;   ///< seen
  bool is_complete = false;  ///< false: stopped by a signal, after a checkpoint
};

/// Trains the experiment in `run`, from `start` when given. Stops early, after finishing the step and saving a
/// checkpoint, once `interrupted()` (see signals.h) is true. When anything else ends it, a data error or a grid of
/// samples that fails, the state after the last step is saved too, unless that is not finite.
/// @param allow_other_data  go on although the data are not those that the checkpoint was trained on
TrainingEnd train(const LoadedExperiment& experiment, RunFolder& run, std::optional<Checkpoint> start,
                  bool allow_other_data = false);

}  // namespace casdm
