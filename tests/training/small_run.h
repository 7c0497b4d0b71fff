#pragma once

#include <map>
#include <string>
#include <vector>

#include "framework/composition/model.h"
#include "framework/training/module_state.h"
#include "framework/training/trainer.h"
#include "support/components.h"

namespace casdm::testing {

/// A training of a few seconds: shapes at 16 px, U-Nets with 8 channels and dropout, batches of 4. `toml` has the head
/// and whatever else differs.
LoadedExperiment small_experiment(const std::filesystem::path& folder, const std::string& name, const std::string& toml,
                                  const std::vector<std::string>& overrides = {});

/// [head] of Cas-DM and of DDPM predicting eps, with the same small networks.
std::string cascade_head();
std::string single_head();

/// Returns a function that creates the optimizer `type` with the options in `toml`, for a ModuleState without an
/// experiment.
MakeOptimizer optimizer(const std::string& type = "adamw", const std::string& toml = "");

/// Trains it in a new folder `folder/name` and returns the final checkpoint.
Checkpoint run(const LoadedExperiment& experiment);

/// Continues `from` in the folder of `experiment` and returns the final checkpoint.
Checkpoint resume(const LoadedExperiment& experiment, const Checkpoint& from);

/// What the error says with which training it ends; see `message_of`.
std::string message_of_run(const LoadedExperiment& experiment);

/// The lines of a run's metrics.jsonl.
std::vector<Value> records(const std::filesystem::path& run);

std::map<std::string, Tensor> tensors(const Checkpoint& checkpoint, const std::string& file);

}  // namespace casdm::testing
