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

/// Whether that is a name of such a file, of what real images score, floor-<16 hex>.json, or of what is nearest to
/// samples, nearest-<16 hex>.json.
bool is_of_evaluations(const std::string& name);

/// Whether the program gives a directory this name in a run folder, and not a file.
bool is_folder_of_run(const std::string& name);

/// What is wrong with `path`, which is to be a run folder and holds no config.toml, and what may be meant instead.
std::string why_no_run(const std::filesystem::path& path);

/// "PATH does not exist", with what has a similar name there, or, of a checkpoint, those that are there.
std::string why_missing(const std::filesystem::path& path);

/// For a command that is to write `out`: throws ConfigError when that is a run folder or a checkpoint, or would lie
/// among what a training has made in one. Other names in a run folder are free. Symbolic links are followed.
/// @param command  "export", for the message
void refuse_inside_run(const std::string& command, const std::filesystem::path& out);

}  // namespace casdm
