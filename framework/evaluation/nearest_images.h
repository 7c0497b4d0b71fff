#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "framework/evaluation/judges.h"
#include "framework/evaluation/stored_images.h"

namespace casdm {

/// What `--nearest` requests.
struct NearestRequest {
  static constexpr std::int64_t kMost = 32;  ///< images
  static constexpr std::size_t kEach = 3;    ///< of the reference, for each image

  std::int64_t count = 0;              ///< images, from the first one on
  std::size_t judge = 0;               ///< the judge whose feature decides
  std::vector<std::int64_t> indices;   ///< the index of each reference image in its data set
  std::vector<std::int64_t> own;       ///< the index of each of the images in their data set; empty: 0, 1, ...
  std::function<bool()> is_cancelled;  ///< may be empty
};

/// For each of the first images of a stream, finds the images of the reference that are nearest by the Euclidean
/// distance of a judge's feature: {"judge", "feature", "dimension", "reference", "reference_num", "between_reference",
/// "images": [{"index", "image", "nearest": [{"index", "distance", "image"}]}]}. Images are PNGs in base64, reduced to
/// at most 128 px. "between_reference" is the median distance from as many images of the reference, evenly spread, to
/// their nearest neighbour in it: an image much nearer than that is a copy.
///
/// Makes two passes over the reference, of which the first only reads; needs memory for one block of its images and the
/// nearest images so far. Among equal distances, the image with the lower index counts. Throws EvaluationStopped.
Value nearest_images(const ImageStream& images, const ImageStream& reference, const Judges& judges,
                     const NearestRequest& request);

/// The distances in a result of nearest_images(), as a table for people.
std::string nearest_table(const Value& result);

}  // namespace casdm
