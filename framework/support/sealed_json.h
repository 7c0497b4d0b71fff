#pragma once

#include "casdm/value.h"

/// JSON records that hold the SHA-256 of the rest of themselves, as their last key "sha256".
namespace casdm {

/// `table` with its checksum.
Value sealed(Value table);

/// Throws Error (without a file's name) when `table`, which came from a file, is not what its checksum says. One
/// without a checksum is somebody's own.
void check_seal(const Value& table);

}  // namespace casdm
