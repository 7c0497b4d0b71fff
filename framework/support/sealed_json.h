#pragma once

#include <cstddef>

#include "casdm/value.h"

/// JSON records that hold the SHA-256 of the rest of themselves, as their last key "sha256".
namespace casdm {

inline constexpr std::size_t kLargestRecord = 16 << 20;  // bytes that are read of one

/// `table` with its checksum.
Value sealed(Value table);

/// Throws Error (without a file's name) when `table`, which came from a file, is not what its checksum says. One
/// without a checksum is somebody's own.
void check_seal(const Value& table);

}  // namespace casdm
