#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "casdm/dataset.h"
#include "casdm/value.h"
#include "framework/config/experiment.h"

namespace casdm {

/// Some of a set of images, by hashes of where they lie: those with the smallest hashes, so that the images that two
/// large sets share are represented in proportion. All images if there are no more than `kMost`.
struct SeenImages {
  static constexpr std::size_t kMost = 1024;

  std::vector<std::string> hashes;  ///< 16 hexadecimal digits each, ascending
};

/// @param place_of  the path of an image; images without an absolute one are left out
SeenImages seen_images(std::int64_t count, const std::function<std::string(std::int64_t)>& place_of);

/// The images of `dataset`. Of more than 2^20 it considers that many, spread evenly.
SeenImages seen_images(const Dataset& dataset, const DataOptions& options);

/// Whether an image is in both sets.
bool have_common(const SeenImages& a, const SeenImages& b);

/// Those of both sets.
SeenImages merged(const SeenImages& a, const SeenImages& b);

/// To and from a string. Reading throws Error if `value` has another form.
Value to_value(const SeenImages& images);
SeenImages seen_images_from(const Value& value);

/// The warning for a run that was trained with the images `seen` and is judged by those of `reference`: that it was
/// trained with some of them. Empty if it was not, or if the reference holds all images of the training, as it usually
/// does: then nobody takes them for images that are new to the run.
/// @param name  of the reference
std::string remark_on(const SeenImages& seen, const SeenImages& reference, const std::string& name);

}  // namespace casdm
