#pragma once

#include <cstddef>

#include "casdm/value.h"

/// JSON records whose last key, "sha256", is the SHA-256 of the rest.
namespace casdm {

inline constexpr std::size_t kLargestRecord = 16 << 20;  // bytes read at most

/// `table` with its checksum.
Value sealed(Value table);

/// Throws Error (without a file's name) if `table`, read from a file, does not match its checksum. A table without a
/// checksum was not written by this program.
void check_seal(const Value& table);

}  // namespace casdm
