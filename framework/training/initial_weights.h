#pragma once

#include <vector>

#include "casdm/cascade_head.h"
#include "framework/composition/model.h"
#include "framework/config/experiment.h"

namespace casdm {

/// The modules of the head as [[init]] wants them: frozen where it says so and, for a new run, with the weights that it
/// names loaded. Throws ConfigError when the head lacks a module, Error when weights do not fit.
/// @param is_new  false: a checkpoint's weights follow
std::vector<NamedModule> initial_modules(const Model& model, const Experiment& options, bool is_new);

}  // namespace casdm
