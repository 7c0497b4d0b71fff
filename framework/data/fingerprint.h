#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "casdm/dataset.h"
#include "casdm/value.h"
#include "framework/config/experiment.h"

namespace casdm {

/// What a checkpoint remembers of the images it was trained on, so that a resume can tell whether they are still
/// there. Of images replaced by others of the same names, and of other labels, it sees those that it looks at.
struct DataFingerprint {
  std::int64_t count = 0;               ///< images
  std::int64_t classes = 0;             ///< 0: the data set has no labels
  std::array<std::int64_t, 3> shape{};  ///< channels, height and width, as the networks see the images
  std::string hash;                     ///< of the names of the images, in order: 16 hexadecimal digits

  /// Of some images, spread evenly, where labels are used; -2: the image could not be read. Empty in checkpoints that
  /// earlier versions made.
  std::vector<std::int64_t> labels;

  /// Of each of some images, spread evenly: 16 hexadecimal digits of what it looks like; empty: it could not be read.
  /// Empty in checkpoints that earlier versions made.
  std::vector<std::string> content;

  bool operator==(const DataFingerprint&) const = default;
};

/// The fingerprint of `dataset` as an experiment with `options` uses it. The hash takes names as `describe` gives
/// them, without the folder or archive that all of them share, so a data set may be moved. Of more than 2^20 images
/// it takes that many, spread evenly. A few images are read for their content, and for labels where these are used.
DataFingerprint fingerprint(const Dataset& dataset, const DataOptions& options);

/// {count, classes, shape = [channels, height, width], hash, labels, content}, and back. Reading throws Error, which
/// says what was expected, when `value` has another form.
Value to_value(const DataFingerprint& data);
DataFingerprint fingerprint_from(const Value& value);

/// How `now` differs from `then`: "the data are not those of the checkpoint: 120 images instead of 100"; empty when
/// they are equal in all that both tell.
std::string difference(const DataFingerprint& then, const DataFingerprint& now);

}  // namespace casdm
