#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace casdm {

/// The names in a checkpoint's folder that no training has written, sorted. If its state.json cannot be read, every
/// safetensors file counts as written by a training.
std::vector<std::string> strangers_in_checkpoint(const std::filesystem::path& folder);

/// Whether the program uses such a name for files that it has not finished writing or removing.
bool is_leftover(const std::string& name);

}  // namespace casdm
