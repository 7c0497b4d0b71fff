#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "framework/composition/model.h"
#include "framework/training/checkpoint.h"
#include "framework/training/run_folder.h"
#include "framework/training/training_state.h"

namespace casdm {

/// The resolved experiment with the plugins that were loaded for it: what a run's config.toml and checkpoints hold.
Value with_used_plugins(const LoadedExperiment& experiment);

/// The experiment that the run continues with from `checkpoint`, before `--set`: its config.toml, which holds what
/// `--set` has changed since; or the checkpoint's own when that was asked for by name, or config.toml is not as this
/// program wrote it for this run, which is reported on stderr with the keys that differ.
/// @param is_newest  whether the checkpoint is the run's newest and was not asked for by name
Value experiment_to_resume(const RunFolder& run, const Checkpoint& checkpoint, bool is_newest);

/// Throws ConfigError when `after` changes what a run keeps for its life: its name and folder, which are where it lies;
/// and, once there are weights to continue from, its seed, [[init]] and the widths of averages.
/// @param before  the experiment without what `--set` changes
void check_lasting_keys(const RunFolder& run, const Value& before, const Value& after, bool has_checkpoint);

/// Clears the way for a run that starts from its beginning: a new one, or one that ended before its first checkpoint.
/// Reports, likewise, which keys have changed since.
void start_over(const RunFolder& run, const LoadedExperiment& experiment, const Value& config);

/// Restores `state` from `checkpoint`, and the run's folder as it was then. Reports on stderr, and in a line of
/// metrics.jsonl, which keys of the experiment have changed, how the learning rate jumps, and whether draws are made in
/// another way. Throws PluginError when plugins were rebuilt, Error when the data are others and that is not allowed.
void resume(const RunFolder& run, const Checkpoint& checkpoint, const LoadedExperiment& experiment, const Value& config,
            bool allow_other_data, TrainingState& state);

}  // namespace casdm
