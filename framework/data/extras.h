#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "casdm/dataset.h"

namespace casdm {

class ImageReader;

/// The numbers of an extra, as the bytes of float32 or int64. Throws Error if they are missing, their number does not
/// match the shape, or one of them is not finite or, of an image, beyond [-1, 1].
std::vector<std::uint8_t> prepared_extra(const ExtraInfo& info, const Example& example);

/// The extras of `count` images, starting with image `first` and wrapping around at the end: each [count, ...], float32
/// or int64. Throws what ImageReader::read throws; says which images were skipped.
std::map<std::string, at::Tensor> extras_of(ImageReader& images, std::int64_t first, std::int64_t count);

/// The label of a sample: that of the image whose extras it gets, so that both say the same; without extras, or if that
/// image has no label, the classes in turn.
/// @param conditions  the images whose extras are conditions, or null
/// Throws Error with the image's name if its label is not below `classes`.
std::int64_t label_of_sample(ImageReader* conditions, std::int64_t classes, std::int64_t index);

/// Of `count` samples from `first` on: int64 [count].
at::Tensor labels_of_samples(ImageReader* conditions, std::int64_t classes, std::int64_t first, std::int64_t count);

/// SHA-256 of what `count` samples are conditioned on: the extras of the images that they use, and their labels. Reads
/// all these images.
/// @param label  of the sample at an index; empty: unconditional
/// Throws Error once `is_cancelled` says so, and what ImageReader::read throws.
std::string digest_of_conditions(ImageReader& conditions, std::int64_t count,
                                 const std::function<std::int64_t(std::int64_t)>& label,
                                 const std::function<bool()>& is_cancelled);

}  // namespace casdm
