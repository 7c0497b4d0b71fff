#pragma once

#include <string>

#include "casdm/module.h"

namespace casdm {

/// Throws Error when weights from elsewhere hold NaN, naming `source` and the first such tensor: a training that saved
/// NaN had diverged, and nothing that starts from it is right.
void refuse_nan(const NamedTensors& tensors, const std::string& source);

/// The first floating-point tensor that holds an infinite number; empty: there is none. Networks of others may keep
/// such on purpose, as masks.
std::string first_infinite(const NamedTensors& tensors);

}  // namespace casdm
