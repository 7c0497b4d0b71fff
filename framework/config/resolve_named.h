#pragma once

#include <string>

#include "framework/config/resolve.h"

namespace casdm {

/// `resolve` for a document that is not an experiment, and is called `whole` in messages: "a sweep".
Value resolve_named(const Value& document, const OptionSchema& schema, const ComponentCatalog& catalog,
                    const std::string& whole);

}  // namespace casdm
