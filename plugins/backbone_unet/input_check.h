#pragma once

#include <cstdint>

#include "casdm/backbone.h"

namespace casdm::unet {

/// Throws Error if x, t or the condition are not valid inputs of a network with this `spec`.
/// @param factor  height and width must be multiples of it
void check_input(const Tensor& x, const Tensor& t, const Condition& condition, const Backbone::Spec& spec,
                 std::int64_t factor);

}  // namespace casdm::unet
