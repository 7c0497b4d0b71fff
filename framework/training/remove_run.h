#pragma once

#include <filesystem>

namespace casdm {

/// Removes a run folder and all that the program has put there. Throws ConfigError, and removes nothing, when `path` is
/// not a run folder or holds anything else; Error when a process trains in it.
void remove_run(const std::filesystem::path& path);

}  // namespace casdm
