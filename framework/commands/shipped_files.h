#pragma once

#include <filesystem>

namespace casdm {

/// What is installed with the program: share/casdm.
std::filesystem::path data_folder();

/// `file`; if there is none, the one with this relative path that comes with casdm ("configs/quickstart.toml"), which
/// is reported on stderr.
std::filesystem::path or_shipped(const std::filesystem::path& file);

}  // namespace casdm
