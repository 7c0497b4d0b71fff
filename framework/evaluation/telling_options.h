#pragma once

#include "casdm/value.h"

namespace casdm {

/// In the identity of an extractor, the names of options that only say where its weights are.
inline constexpr const char* kLocatedBy = "located_by";

/// The options in the identity of an extractor that say what it computes. Where the weights are differs between
/// machines, and their digest says which they are.
Value telling_options(const Value& extractor);

}  // namespace casdm
