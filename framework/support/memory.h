#pragma once

#include <cstdint>

namespace casdm {

/// The memory available to this process in bytes: the machine's or, in a container, its limit.
std::uint64_t memory_of_machine();

}  // namespace casdm
