#pragma once

#include <filesystem>

#include "casdm/weight_layout.h"

namespace casdm {

/// Whether `path` is a folder that holds the files of this layout.
bool is_weights_folder(const std::filesystem::path& path, const WeightLayoutInfo& layout);

/// The weights and the JSON beside them. Throws Error naming the file that is missing or damaged.
ForeignWeights read_weights_folder(const std::filesystem::path& folder, const WeightLayoutInfo& layout);

/// Writes a new folder, whole or not at all; into an existing one, file by file.
void write_weights_folder(const std::filesystem::path& folder, const WeightLayoutInfo& layout,
                          const ForeignWeights& weights);

}  // namespace casdm
