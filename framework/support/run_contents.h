#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace casdm {

/// Whether a training gives this name to what it makes in a run folder: "config.toml", "checkpoints", "set-aside-2".
bool is_of_run(const std::string& name);

/// The images seen by the checkpoint that a file in RUN/evaluation judges, by its name: <12 digits>-<weights>-<16 hex>
/// with the ending .json or .state; nullopt for another name.
std::optional<std::int64_t> images_of_evaluation(const std::string& name);

/// Whether that is a name of such a file, or of what real images score: floor-<16 hex>.json.
bool is_of_evaluations(const std::string& name);

/// Whether the program gives a directory this name in a run folder, and not a file.
bool is_folder_of_run(const std::string& name);

/// For a command that is to write `out`: throws ConfigError when that is a run folder or a checkpoint, or would lie
/// among what a training has made in one. Other names in a run folder are free. Symbolic links are followed.
/// @param command  "export", for the message
void refuse_inside_run(const std::string& command, const std::filesystem::path& out);

}  // namespace casdm
