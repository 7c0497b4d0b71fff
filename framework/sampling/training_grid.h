#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "framework/composition/model.h"
#include "framework/sampling/generate.h"

namespace casdm {

/// `generate`, with the weights, the device and what else is of a training.
using Draw = std::function<Tensor(const GenerateOptions&)>;

/// Draws the grid of `log.sample_count` images that a training shows, by the experiment's sampler and seed, and writes
/// it as a PNG whose text says what made it. Shows its progress on stderr when it takes long.
/// Throws as `draw` does.
/// @param images  that the training has seen, for the text
void draw_training_grid(const LoadedExperiment& experiment, std::int64_t num_classes, std::int64_t images,
                        const std::filesystem::path& path, const Draw& draw);

}  // namespace casdm
