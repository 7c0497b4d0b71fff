#pragma once

#include <cstdint>
#include <filesystem>

namespace casdm {

/// The memory available to this process in bytes: the machine's or, in a container, its limit.
std::uint64_t memory_of_machine();

/// The bytes that this process can still take: what the machine has free, and what each control group above the process
/// leaves. Memory that holds files which can be read again counts as free.
/// @param root  where /proc and /sys are
std::uint64_t free_memory(const std::filesystem::path& root = "/");

}  // namespace casdm
