#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "casdm/cascade_head.h"
#include "framework/composition/model.h"
#include "framework/config/experiment.h"

namespace casdm {

/// The modules of the head as [[init]] wants them: frozen where it says so. Throws ConfigError when the head lacks one,
/// or one is the average of another, which would overwrite its weights.
std::vector<NamedModule> initial_modules(const Model& model, const Experiment& options);

/// Loads the weights that [[init]] names into the model's modules, for a run that begins. Throws ConfigError when the
/// head lacks a module, or weights were trained in another network of the same shapes; Error when weights do not fit.
///
/// A run that is killed before its first checkpoint begins again, and takes the weights that it took at first: they are
/// looked for where they were found, since the run that `from` names may have trained on. Throws Error when they are
/// gone.
/// @param record  the run's init.json, which says what was taken: for each module `from` of [[init]], the file, its
///                SHA-256, and the images of a checkpoint. Empty: nothing is read or written
void load_initial_weights(const Model& model, const LoadedExperiment& experiment,
                          const std::filesystem::path& record = {});

/// A sentence for each module of a run that begins that keeps its initial weights, and to which no [[init]] gives any.
std::vector<std::string> left_at_random(const Model& model, const Experiment& options);

}  // namespace casdm
