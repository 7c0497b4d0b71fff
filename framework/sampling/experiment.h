#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "framework/composition/model.h"

namespace casdm {

/// The parts of a run's experiment that sampling needs: networks, noise, sampler, guidance, the shape of the images.
/// Parts that only training needs (metrics, timesteps, the data set and its files) are left out, so their plugins need
/// not be available.
/// @param config      the experiment of a checkpoint
/// @param keeps_data  whether images are conditioned on extras of the data set, so that it is needed, too
/// @param overrides   given with `--set`; ConfigError for a key that has no effect on sampling
LoadedExperiment sampling_experiment(const Value& config, bool keeps_data, const std::vector<std::string>& overrides,
                                     const std::vector<std::filesystem::path>& plugin_files);

}  // namespace casdm
