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

/// Whether the JSON in `folder`, if there is any, is the one that `write_weights_folder` wrote with its weights.
/// @param metadata  of the file of weights
bool has_written_config(const std::filesystem::path& folder, const std::string& config_file,
                        const std::map<std::string, std::string>& metadata);

/// Writes a new folder, whole or not at all; or replaces both files of an existing one. That is stopped at any moment
/// with both as they were, or without the JSON, so that new weights are never read by an old description.
/// @param metadata  of the file of weights, beside its format and the SHA-256 of the JSON
void write_weights_folder(const std::filesystem::path& folder, const WeightLayoutInfo& layout,
                          const ForeignWeights& weights, std::map<std::string, std::string> metadata = {});

}  // namespace casdm
