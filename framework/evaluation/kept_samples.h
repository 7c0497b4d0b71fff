#pragma once

#include <filesystem>

namespace casdm {

/// Throws ConfigError unless the sampling in `folder`, which has a sampling.json, is complete, and Error if its
/// samples.npz is not the file that this records.
void require_kept_samples(const std::filesystem::path& folder);

}  // namespace casdm
