#pragma once

#include <string>

#include "framework/config/resolve.h"

namespace casdm {

/// Like `resolve`, for a document that is not an experiment; messages call it `whole`: "a sweep".
Value resolve_named(const Value& document, const OptionSchema& schema, const ComponentCatalog& catalog,
                    const std::string& whole);

}  // namespace casdm
