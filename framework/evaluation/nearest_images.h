#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "framework/evaluation/judges.h"
#include "framework/evaluation/stored_images.h"

namespace casdm {

/// What `--nearest` asks for.
struct NearestRequest {
  static constexpr std::int64_t kMost = 32;  ///< images
  static constexpr std::size_t kEach = 3;    ///< of the reference, for each of them

  std::int64_t count = 0;              ///< of the first images
  std::size_t judge = 0;               ///< whose feature decides
  std::vector<std::int64_t> indices;   ///< of the reference's images in their data
  std::vector<std::int64_t> own;       ///< of the images themselves in theirs; empty: 0, 1, ...
  std::function<bool()> is_cancelled;  ///< may be empty
};

/// For the first images of a stream those of the reference that are nearest, by the Euclidean distance of a judge's
/// feature: {"judge", "feature", "dimension", "reference", "reference_num", "between_reference", "images": [{"index",
/// "image", "nearest": [{"index", "distance", "image"}]}]}. Images are PNGs in base64, reduced to at most 128 px.
/// "between_reference" is the median distance from as many images of the reference, evenly spread, to the nearest other
/// one: what is far nearer than that is a copy.
///
/// Two passes over the reference, the first one reading alone; memory for a block of its images and what is nearest so
/// far. Of equal distances
/// the image of the lower index counts. Throws EvaluationStopped.
Value nearest_images(const ImageStream& images, const ImageStream& reference, const Judges& judges,
                     const NearestRequest& request);

/// The distances of a result of nearest_images() as a table for people.
std::string nearest_table(const Value& result);

}  // namespace casdm
