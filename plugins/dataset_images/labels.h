#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace casdm::dataset_images {

/// Class labels of a data set's images.
struct Labels {
  std::vector<std::int64_t> values;  ///< one per image; empty when unlabelled
  std::int64_t num_classes = 0;

  std::int64_t at(std::int64_t index) const { return values.empty() ? -1 : values.at(static_cast<std::size_t>(index)); }
};

/// Bytes that a dataset.json can need to label `names`; a larger one labels files that are not there.
std::uint64_t json_limit(const std::vector<std::string>& names);

/// The labels of `names` from the text of EDM's dataset.json: {"labels": [["00000/img.png", 3], ...]} or null.
/// Throws Error, whose text begins with `source`, when the text has another form, labels a file that
/// is not in `names`, or leaves out one that is.
Labels labels_from_json(std::string_view json, const std::vector<std::string>& names, const std::string& source);

/// Labels that a file gives as numbers, one for each of `count` images; `first` is the number of the first class.
/// @param most  classes; 0: as many as there are
/// Throws Error, whose text begins with `source`, when there are more or fewer, or one is out of range.
Labels labels_from_numbers(std::vector<std::int64_t> numbers, std::int64_t count, std::int64_t first, std::int64_t most,
                           const std::string& source);

/// Labels by the first folder of each name, numbered in bytewise order of the folders.
/// Throws Error, whose text begins with `source`, when an image lies in no folder.
Labels labels_from_folders(const std::vector<std::string>& names, const std::string& source);

}  // namespace casdm::dataset_images
