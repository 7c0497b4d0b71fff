#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "framework/config/experiment.h"

namespace casdm {

using at::Tensor;

/// Height and width of the images that a metric gets if they have `image_size` pixels before.
std::int64_t metric_image_size(const MetricOptions& options, std::int64_t image_size);

/// Where the crops of a metric are: top and left, one pair per image.
using CropPlaces = std::vector<std::array<std::int64_t, 2>>;

/// The crops, the same for prediction and target, from the seeds of the images and the metric's name; without seeds, in
/// the middle.
CropPlaces crop_places(const MetricOptions& options, const std::string& name, const Tensor& images,
                       const std::vector<std::uint64_t>& seeds);

/// The input of a metric for `images` [B, C, H, W]: cropped at `places`, resized, and mapped from [-1, 1] to its input
/// range.
Tensor metric_input(const Tensor& images, const MetricOptions& options, const CropPlaces& places);

}  // namespace casdm
