#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "framework/config/experiment.h"

namespace casdm {

using at::Tensor;

/// Height and width of the images that a metric is fed, of `image_size` pixels before.
std::int64_t metric_image_size(const MetricOptions& options, std::int64_t image_size);

/// Where a metric cuts the images: top, left, one for each image.
using CropPlaces = std::vector<std::array<std::int64_t, 2>>;

/// The same for prediction and target, from the seeds of the images and the metric's name; without seeds the middle.
CropPlaces crop_places(const MetricOptions& options, const std::string& name, const Tensor& images,
                       const std::vector<std::uint64_t>& seeds);

/// What a metric is fed of `images` [B, C, H, W]: cut at `places`, resized, and mapped from [-1, 1] to its input range.
Tensor metric_input(const Tensor& images, const MetricOptions& options, const CropPlaces& places);

}  // namespace casdm
