#pragma once

#include <filesystem>

namespace casdm {

/// Removes a run folder and everything the program has put into it. Throws ConfigError, and removes nothing, if `path`
/// is not a run folder or contains anything else; Error if a process trains in it.
void remove_run(const std::filesystem::path& path);

}  // namespace casdm
