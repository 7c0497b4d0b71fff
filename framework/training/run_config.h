#pragma once

#include <filesystem>
#include <string>

#include "casdm/value.h"

namespace casdm {

/// Writes a run's config.toml: the resolved experiment, and in the last line a checksum of it together with what the
/// run goes on from, so that the file fits no other run. A file that says so already stays as it is.
/// @param start  Checkpoint::sha256() of the checkpoint that the run goes on from; empty: it begins
void write_run_config(const std::filesystem::path& file, const Value& config, const std::string& start);

/// Whether `file` is as `write_run_config` wrote it when a run went on from `start`: neither damaged, nor edited, nor
/// of another run.
bool is_run_config_since(const std::filesystem::path& file, const std::string& start);

/// Whether `file` is as a version wrote it that put a checksum of the experiment alone into it; which run it is of, it
/// does not say.
bool is_run_config_of_any(const std::filesystem::path& file);

}  // namespace casdm
