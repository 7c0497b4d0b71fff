#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "framework/composition/model.h"
#include "framework/sampling/generate.h"

namespace casdm {

/// `generate` with the weights, the device and the other state of a training.
using Draw = std::function<Tensor(const GenerateOptions&)>;

/// Draws a training's grid of `log.sample_count` images with the experiment's sampler and seed, and writes it as a PNG
/// whose text says how it was made. Shows progress on stderr if it takes long. Throws like `draw`.
/// @param images  seen by the training, for the text
void draw_training_grid(const LoadedExperiment& experiment, std::int64_t images, const std::filesystem::path& path,
                        const Draw& draw);

}  // namespace casdm
