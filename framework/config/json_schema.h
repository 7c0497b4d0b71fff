#pragma once

#include "framework/config/resolve.h"

namespace casdm {

/// A JSON Schema (draft-07) of experiment files, for editors: completion, documentation and most of
/// what resolve() checks. Files may be pieces of an experiment, so nothing but `type` is required.
Value json_schema(const OptionSchema& schema, const ComponentCatalog& catalog);

}  // namespace casdm
