#pragma once

#include <memory>

#include "casdm/dataset.h"
#include "framework/composition/model.h"
#include "framework/device/device.h"
#include "framework/device/threads.h"
#include "framework/distributed/batch_share.h"
#include "framework/distributed/world.h"
#include "framework/training/metric_terms.h"
#include "framework/training/run_folder.h"
#include "framework/training/training_state.h"
#include "framework/training/training_step.h"

namespace casdm {

/// The objects that each process of a training uses, in order of creation.
struct TrainingParts {
  /// Keeps references to its arguments. Throws ConfigError if the experiment cannot be trained, or not by these
  /// processes.
  /// @param new_run  the folder of a new run, whose modules get their initial weights; null: they are restored later,
  ///                 or come from the first process
  TrainingParts(const LoadedExperiment& experiment, World& world, const RunFolder* new_run);
  TrainingParts(const TrainingParts&) = delete;
  TrainingParts& operator=(const TrainingParts&) = delete;

  const LoadedExperiment& experiment;
  const Experiment& options;
  World& world;
  BatchShare share;
  SelectedDevice device;
  CpuThreads threads;
  std::shared_ptr<Dataset> dataset;
  Model model;
  ExperimentMetrics metrics;
  TrainingState state;
  TrainingStep step;
};

}  // namespace casdm
