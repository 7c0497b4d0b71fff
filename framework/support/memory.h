#pragma once

#include <cstdint>

namespace casdm {

/// Bytes of memory that this process can ever have: those of the machine or, in a container, its limit.
std::uint64_t memory_of_machine();

}  // namespace casdm
