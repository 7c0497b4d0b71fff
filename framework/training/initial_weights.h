#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "casdm/cascade_head.h"
#include "framework/composition/model.h"
#include "framework/config/experiment.h"

namespace casdm {

/// The modules of the head, frozen as [[init]] says. Throws ConfigError if the head lacks a module, or if one is the
/// average of another, which would overwrite its weights.
std::vector<NamedModule> initial_modules(const Model& model, const Experiment& options);

/// Loads the weights that [[init]] names into the model's modules, for a new run. Throws ConfigError if the head lacks
/// a module, or if the weights do not fit or were trained in a different network of the same shapes.
///
/// A run killed before its first checkpoint starts again with the weights that it used the first time: they are looked
/// for where they were found then, since the run that `from` names may have been trained further. Throws Error if they
/// are gone.
/// @param record  the run's init.json, which records the weights used: for each module `from` of [[init]], the file,
///                its SHA-256, and the images of a checkpoint. Empty: nothing is read or written
void load_initial_weights(const Model& model, const LoadedExperiment& experiment,
                          const std::filesystem::path& record = {});

/// A sentence for each module of a new run that is not trained and to which no [[init]] gives weights.
std::vector<std::string> left_at_random(const Model& model, const Experiment& options);

}  // namespace casdm
