#pragma once

#include <string>

#include "framework/distributed/world.h"
#include "framework/sampling/generate.h"

namespace casdm {

/// The message of the first process before all draw together: the parts of `options` that belong to the request.
/// @param own  the maximum number of images per process; together enough for all
std::string drawing_request(const GenerateOptions& options, std::int64_t own);

/// The images of `generate`, returned in all processes: each draws `own` of them, in the order of ranks. Each image's
/// noise depends on its index alone, so the images equal those of one process up to the rounding of other batch sizes.
/// @param request  of `drawing_request`
/// @param options  the parts not in the request; `is_cancelled` must return the same in all processes
/// Throws like `generate`.
Tensor draw_together(const Model& model, const std::string& request, GenerateOptions options, World& world);

}  // namespace casdm
