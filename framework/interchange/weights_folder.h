#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "casdm/weight_layout.h"

namespace casdm {

/// Whether `path` is a folder that holds the files of this layout.
bool is_weights_folder(const std::filesystem::path& path, const WeightLayoutInfo& layout);

/// The weights and the JSON beside them. Throws Error naming the file that is missing or damaged.
ForeignWeights read_weights_folder(const std::filesystem::path& folder, const WeightLayoutInfo& layout);

/// Writes a new folder, whole or not at all; into an existing one, file by file.
/// @param metadata  of the weights' file, beside its format
void write_weights_folder(const std::filesystem::path& folder, const WeightLayoutInfo& layout,
                          const ForeignWeights& weights, std::map<std::string, std::string> metadata = {});

}  // namespace casdm
