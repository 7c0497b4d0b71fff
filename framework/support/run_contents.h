#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace casdm {

/// Whether `path` is a run folder: one with an experiment and what a training makes before its first step. A folder in
/// which the user keeps a config.toml of his own is none.
bool is_run_folder(const std::filesystem::path& path);

/// The run that has a checkpoint, or a copy of one, in its folder checkpoints/; empty: none. If a checkpoint is itself
/// a link, it is the run that contains the link; any other link is followed.
std::filesystem::path run_of_checkpoint(const std::filesystem::path& checkpoint);

/// Whether a training uses this name for something in a run folder: "config.toml", "checkpoints", "set-aside-2".
bool is_of_run(const std::string& name);

/// The number of images of the checkpoint judged in a file of RUN/evaluation, taken from its name: <12
/// digits>-<weights>-<16 hex> with extension .json or .state; nullopt for any other name.
std::optional<std::int64_t> images_of_evaluation(const std::string& name);

/// Whether a name has that form or is one of floor-<16 hex>.json (scores of real images) and nearest-<16 hex>.json
/// (images nearest to samples).
bool is_of_evaluations(const std::string& name);

/// Whether the program uses this name in a run folder for a directory, not a file.
bool is_folder_of_run(const std::string& name);

/// What is wrong with `path`, which should be a run folder and is none, and what the user may have meant.
std::string why_no_run(const std::filesystem::path& path);

/// "PATH does not exist", with a similar name or, for a checkpoint, those that exist.
std::string why_missing(const std::filesystem::path& path);

/// Throws ConfigError if `folder`, one of those that a run keeps, is a link: a copy of the run would write there, too.
void require_own_folder(const std::filesystem::path& folder);

/// For a command that is to write `out`: throws ConfigError if that is a run folder or a checkpoint, or would be among
/// the files that a training made in one. Other names in a run folder are free. Symbolic links are followed.
/// @param command  "export", for the message
void refuse_inside_run(const std::string& command, const std::filesystem::path& out);

}  // namespace casdm
