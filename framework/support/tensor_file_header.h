#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace casdm {

/// The strings in the `__metadata__` of a safetensors file, read without its tensors; empty if it is no such file.
std::map<std::string, std::string> metadata_of_file(const std::filesystem::path& file);

}  // namespace casdm
