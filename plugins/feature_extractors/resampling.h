#pragma once

#include "casdm/feature_extractor.h"

namespace casdm::feature_extractors {

/// The weights of a resampling along one axis: [to, from] float64, each row with the sum 1.
///
/// | method            | as                                                                                         |
/// | ----------------- | ------------------------------------------------------------------------------------------ |
/// | bilinear          | PyTorch's `interpolate`, pixel centres aligned, no antialias                               |
/// | tf1_bilinear      | TensorFlow 1's `resize_bilinear`: corners aligned at the top left, no antialias            |
/// | bicubic_antialias | Pillow's `resize(BICUBIC)` of floating-point images: a = -0.5, the filter as wide as a step |
Tensor resampling_weights(std::int64_t from, std::int64_t to, ExtractorResize method);

/// Images [B, C, h, w] resampled to [B, C, size, size], first along rows, then along columns. Images that already have
/// this size stay as they are, whatever the method. Differentiable.
Tensor resized(const Tensor& images, std::int64_t size, ExtractorResize method);

/// The method with this name: "none", "bilinear", "tf1_bilinear", "bicubic_antialias".
ExtractorResize resize_method(std::string_view name);

}  // namespace casdm::feature_extractors
