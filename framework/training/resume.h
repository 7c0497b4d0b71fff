#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "framework/composition/model.h"
#include "framework/training/checkpoint.h"
#include "framework/training/run_folder.h"
#include "framework/training/training_state.h"

namespace casdm {

/// The resolved experiment with the plugins loaded for it, as stored in a run's config.toml and checkpoints.
Value with_used_plugins(const LoadedExperiment& experiment);

/// The experiment with which the run continues from `checkpoint`, before `--set`: its config.toml, which includes
/// earlier changes by `--set`; or the checkpoint's own if that checkpoint was named by the user, or if config.toml is
/// not as this program wrote it for this run, which is reported on stderr with the keys that differ.
/// @param is_newest  whether the checkpoint is the run's newest and was not named by the user
Value experiment_to_resume(const RunFolder& run, const Checkpoint& checkpoint, bool is_newest);

/// Throws ConfigError if `after` changes what must not change during a run: its name and folder, since they say where
/// it is; and, once there are weights to continue from, its seed, [[init]] and the widths of averages.
/// @param before  the experiment without the changes of `--set`
void check_lasting_keys(const RunFolder& run, const Value& before, const Value& after, bool has_checkpoint);

/// Prepares the folder for a run that starts from the beginning: a new one, or one that ended before its first
/// checkpoint. Reports which keys have changed since.
void start_over(const RunFolder& run, const LoadedExperiment& experiment, const Value& config);

/// Restores `state` from `checkpoint`, and the run's folder as it was then. Reports on stderr, and in a line of
/// metrics.jsonl, which keys of the experiment have changed, how the learning rate jumps, and whether random draws are
/// made differently; on stderr also whether the networks' outputs mean something else from here on. Throws, before
/// anything is changed, PluginError if plugins were rebuilt, ConfigError if the experiment has changed so that it
/// cannot go on from the checkpoint, Error if the data differ and that is not allowed.
/// @return  the run's own checkpoint, see `own_checkpoint`
std::filesystem::path resume(const RunFolder& run, const Checkpoint& checkpoint, const LoadedExperiment& experiment,
                             const Value& config, bool allow_other_data, TrainingState& state);

}  // namespace casdm
