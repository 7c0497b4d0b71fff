#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "framework/composition/model.h"

namespace casdm {

/// What sampling needs of a run's experiment: networks, noise, sampler, guidance, the shape of the images. What only
/// training needs (metrics, timesteps, the data set and its files) is left out, so its plugins need not be there.
/// @param config     the experiment of a checkpoint
/// @param keeps_data  whether images are conditioned on what the data set gives, so that it is needed too
/// @param overrides  of `--set`; ConfigError for a key that changes nothing in sampling
LoadedExperiment sampling_experiment(const Value& config, bool keeps_data, const std::vector<std::string>& overrides,
                                     const std::vector<std::filesystem::path>& plugin_files);

}  // namespace casdm
