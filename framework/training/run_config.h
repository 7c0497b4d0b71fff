#pragma once

#include <filesystem>

#include "casdm/value.h"

namespace casdm {

/// Writes a run's config.toml: the resolved experiment, with a checksum in the last line. A file that already has this
/// content stays untouched.
void write_run_config(const std::filesystem::path& file, const Value& config);

/// Whether `file` is as `write_run_config` wrote it: neither damaged nor edited. It may still belong to another run.
bool is_run_config_intact(const std::filesystem::path& file);

}  // namespace casdm
