#pragma once

#include <string>

#include "framework/config/resolve.h"

namespace casdm {

/// Whether an experiment has `value` at `key` (in the form of ExperimentChange) where nobody sets it. Not where that is
/// unknown, as with an option of a component that the catalog lacks.
/// @param experiment  a resolved one, which says what components there are
bool is_default_at(const std::string& key, const Value& value, const Value& experiment,
                   const ComponentCatalog& catalog);

}  // namespace casdm
