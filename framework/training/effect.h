#pragma once

#include <string>
#include <vector>

#include "framework/composition/model.h"
#include "framework/config/experiment.h"

/// Finds settings with which a training would compute for days and change nothing, or hardly anything.
namespace casdm {

/// Throws one ConfigError that lists every setting of a resolved experiment that certainly makes part of the training
/// pointless: an average that never moves, a factor that is 0 in float32, labels that are always dropped, a module with
/// two sources of initial weights.
void require_effect(const Value& experiment);

/// A sentence for each setting that makes the training weaker than it seems: warm-ups longer than the training, an
/// average that consists mostly of the initial weights, and the like.
std::vector<std::string> weak_settings(const Experiment& options);

/// A sentence for each table of [optimizer] for a module that the head itself does not train.
std::vector<std::string> idle_tables(const Model& model, const Experiment& options);

}  // namespace casdm
