#pragma once

#include <string>

#include "framework/distributed/world.h"
#include "framework/sampling/generate.h"

namespace casdm {

/// What the first process says before it draws together with the others: `options` as far as they are of the request.
std::string drawing_request(const GenerateOptions& options);

/// The images of `generate`, each drawn by one of the processes, which all call this with the same request; the first
/// gets them all. Each image's noise depends on its index alone, so they are those of one process up to rounding.
/// @param request  of `drawing_request`
/// @param options  what is not of the request; `is_cancelled` says the same in all processes
/// Throws as `generate` does.
Tensor draw_together(const Model& model, const std::string& request, GenerateOptions options, World& world);

}  // namespace casdm
