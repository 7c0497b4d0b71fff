#pragma once

#include <filesystem>
#include <string>

namespace casdm {

/// Whether a training gives this name to what it makes in a run folder: "config.toml", "checkpoints", "set-aside-2".
bool is_of_run(const std::string& name);

/// For a command that is to write `out`: throws ConfigError when that is a run folder or a checkpoint, or would lie
/// among what a training has made in one. Other names in a run folder are free. Symbolic links are followed.
/// @param command  "export", for the message
void refuse_inside_run(const std::string& command, const std::filesystem::path& out);

}  // namespace casdm
