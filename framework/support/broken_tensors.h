#pragma once

#include <string>

#include "casdm/module.h"

namespace casdm {

/// Throws Error with `source` and the first bad tensor if weights from elsewhere contain NaN: a training that saved NaN
/// had diverged, and nothing that starts from it can be right.
void refuse_nan(const NamedTensors& tensors, const std::string& source);

/// The first floating-point tensor that contains infinity; empty: there is none. Other programs' networks may contain
/// it on purpose, as masks.
std::string first_infinite(const NamedTensors& tensors);

}  // namespace casdm
