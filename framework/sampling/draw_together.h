#pragma once

#include <string>

#include "framework/distributed/world.h"
#include "framework/sampling/generate.h"

namespace casdm {

/// What the first process says before it draws together with the others: `options` as far as they are of the request.
/// @param own  images that a process draws, at most; enough for all of them
std::string drawing_request(const GenerateOptions& options, std::int64_t own);

/// The images of `generate`, which all processes get: each draws `own` of them, in the order of ranks. Each image's
/// noise depends on its index alone, so they are those of one process up to the rounding of other batches.
/// @param request  of `drawing_request`
/// @param options  what is not of the request; `is_cancelled` says the same in all processes
/// Throws as `generate` does.
Tensor draw_together(const Model& model, const std::string& request, GenerateOptions options, World& world);

}  // namespace casdm
