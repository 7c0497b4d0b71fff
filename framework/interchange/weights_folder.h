#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "casdm/weight_layout.h"

namespace casdm {

bool is_weights_folder(const std::filesystem::path& path, const WeightLayoutInfo& layout);

/// The weights and the JSON beside them. Where the layout's safetensors file is missing, one of torch.save with the
/// ending .bin is read instead, or the parts that NAME.index.json lists. Throws Error with the name of a missing or
/// damaged file.
ForeignWeights read_weights_folder(const std::filesystem::path& folder, const WeightLayoutInfo& layout);

/// Whether the JSON in `folder`, if there is any, is the one that `write_weights_folder` wrote with the weights.
/// @param metadata  of the weights file
bool has_written_config(const std::filesystem::path& folder, const std::string& config_file,
                        const std::map<std::string, std::string>& metadata);

/// Writes a new folder completely or not at all, or replaces both files of an existing one. If it is stopped at any
/// point, an existing folder has both old files, or lacks the JSON, so new weights are never read with an old
/// description.
/// @param metadata  of the weights file; its format and the JSON's SHA-256 are added
void write_weights_folder(const std::filesystem::path& folder, const WeightLayoutInfo& layout,
                          const ForeignWeights& weights, std::map<std::string, std::string> metadata = {});

}  // namespace casdm
