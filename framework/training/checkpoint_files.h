#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace casdm {

/// The names in the folder of a checkpoint that no training has written, sorted; where its state.json cannot be read,
/// every safetensors file counts as written by one.
std::vector<std::string> strangers_in_checkpoint(const std::filesystem::path& folder);

/// Whether a name is one that the program gives what it has not finished writing or removing.
bool is_leftover(const std::string& name);

}  // namespace casdm
