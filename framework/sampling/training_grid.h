#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "framework/composition/model.h"

namespace casdm {

/// Draws the grid of `log.sample_count` images that a training shows, by the experiment's sampler and seed, and writes
/// it as a PNG whose text says what made it. Shows its progress on stderr when it takes long.
/// Throws as `generate` does, SamplingCancelled when `is_cancelled` says so.
/// @param images  that the training has seen, for the text
void draw_training_grid(const Model& model, const LoadedExperiment& experiment, std::int64_t num_classes,
                        c10::Device device, std::int64_t images, const std::filesystem::path& path,
                        const std::function<bool()>& is_cancelled = {});

}  // namespace casdm
