#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "casdm/dataset.h"
#include "casdm/value.h"
#include "framework/config/experiment.h"

namespace casdm {

/// What a checkpoint records about its training images, so that a resume can tell whether the data are the same.
/// Replaced images under the same names, and changed labels and extras, are noticed only among the images it samples.
struct DataFingerprint {
  static constexpr std::int64_t kUnreadable = -2;  ///< in place of a label

  std::int64_t count = 0;               ///< images
  std::int64_t classes = 0;             ///< 0: the data set has no labels
  std::array<std::int64_t, 3> shape{};  ///< channels, height and width as the networks see the images
  std::string hash;                     ///< of the names of the images, in order: 16 hexadecimal digits

  /// Of some images, spread evenly, if labels are used; kUnreadable: the image could not be read. Empty in checkpoints
  /// of earlier versions.
  std::vector<std::int64_t> labels;

  /// For some images, spread evenly: 16 hexadecimal digits that describe its appearance; empty: it could not be read.
  /// Empty in checkpoints of earlier versions.
  std::vector<std::string> content;

  /// The same for the extras of these images; empty if the data set has none.
  std::vector<std::string> extras;

  bool operator==(const DataFingerprint&) const = default;
};

/// The fingerprint of `dataset` as an experiment with `options` uses it. The hash covers names as `describe` gives
/// them, without the folder or archive that all of them share, so a data set may be moved. Of more than 2^20 images it
/// covers that many, spread evenly. A few images are read for their content, their extras and, if labels are used, for
/// their labels.
DataFingerprint fingerprint(const Dataset& dataset, const DataOptions& options);

/// To and from {count, classes, shape = [channels, height, width], hash, labels, content, extras}. Reading throws
/// Error, with what was expected, if `value` has another form.
Value to_value(const DataFingerprint& data);
DataFingerprint fingerprint_from(const Value& value);

/// How `now` differs from `then`: "120 images instead of 100"; empty if they are equal in everything that both contain.
std::string what_differs(const DataFingerprint& then, const DataFingerprint& now);

/// The same as a sentence: "the data are not those of the checkpoint: 120 images instead of 100".
std::string difference(const DataFingerprint& then, const DataFingerprint& now);

}  // namespace casdm
