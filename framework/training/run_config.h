#pragma once

#include <filesystem>

#include "casdm/value.h"

namespace casdm {

/// Writes a run's config.toml: the resolved experiment, and in the last line a checksum of it. A file that says so
/// already stays as it is.
void write_run_config(const std::filesystem::path& file, const Value& config);

/// Whether `file` is as `write_run_config` wrote it: neither damaged nor edited. Which run it is of, it does not say.
bool is_run_config_intact(const std::filesystem::path& file);

}  // namespace casdm
