#pragma once

#include <cstdint>

#include "casdm/backbone.h"

namespace casdm::unet {

/// Throws Error when x, t or the condition are not what a network of `spec` takes.
/// @param factor  height and width must be multiples of it
void check_input(const Tensor& x, const Tensor& t, const Condition& condition, const Backbone::Spec& spec,
                 std::int64_t factor);

}  // namespace casdm::unet
