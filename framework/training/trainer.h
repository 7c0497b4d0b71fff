#pragma once

#include <optional>

#include "framework/composition/model.h"
#include "framework/training/checkpoint.h"
#include "framework/training/progression.h"
#include "framework/training/run_folder.h"

namespace casdm {

/// How a training ended.
struct TrainingEnd {
  Progression progression;
  bool is_complete = false;  ///< false: stopped by a signal, after a checkpoint
};

/// Trains the experiment in `run`, from `start` when given; `start` is let go once it is restored. Returns early, after
/// finishing the step and saving a checkpoint, once `interrupted()` (see signals.h) is true.
TrainingEnd train(const LoadedExperiment& experiment, RunFolder& run, std::optional<Checkpoint> start);

}  // namespace casdm
