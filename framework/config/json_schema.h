#pragma once

#include <string>

#include "framework/config/resolve.h"

namespace casdm {

/// What a JSON Schema describes: any file, which may be a piece of an experiment and leave keys, and the `type` of a
/// table, to the files with which it is merged; or an experiment after merging.
enum class SchemaOf { piece, whole };

/// A JSON Schema (draft-04) of experiment files, for editors: completion, documentation and most of what resolve()
/// checks. Whatever it refuses, resolve() refuses, too.
Value json_schema(const OptionSchema& schema, const ComponentCatalog& catalog, SchemaOf of = SchemaOf::piece,
                  const std::string& title = "casdm experiment");

}  // namespace casdm
