#pragma once

#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// Sets the keys of `overrides` ("train.batch_size=8") in `document`, as document.h describes them.
/// Their location is "--set " and the override. Throws ConfigError when one is malformed.
void apply_overrides(Value& document, const std::vector<std::string>& overrides);

}  // namespace casdm
