#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace casdm::dataset_images {

/// Labels are class numbers; a damaged file must not make a network of a billion classes.
inline constexpr std::int64_t kMaxClasses = 1'000'000;

/// Class labels of a data set's images.
struct Labels {
  std::vector<std::int64_t> values;  ///< one per image; empty if unlabelled
  std::int64_t num_classes = 0;

  std::int64_t at(std::int64_t index) const { return values.empty() ? -1 : values.at(static_cast<std::size_t>(index)); }
};

/// "no image is of class 0": the classes that none of `images` has, for the line at the start of a training; empty if
/// there is none.
std::string classes_without_images(const Labels& labels, const std::vector<std::int64_t>& images);

/// The size in bytes that a dataset.json may need to label `names`; a larger one labels files that do not exist.
std::uint64_t json_limit(const std::vector<std::string>& names);

/// The labels of `names` from the text of EDM's dataset.json: {"labels": [["00000/img.png", 3], ...]} or null. Throws
/// Error, whose message begins with `source`, if the text has a different form, labels a file that is not in `names`,
/// or leaves out one that is.
Labels labels_from_json(std::string_view json, const std::vector<std::string>& names, const std::string& source);

/// Labels given by a file as numbers, one for each of `count` images; `first` is the number of the first class.
/// @param most  number of classes; 0: any
/// Throws Error, whose message begins with `source`, if there are more or fewer, or if one is out of range.
Labels labels_from_numbers(std::vector<std::int64_t> numbers, std::int64_t count, std::int64_t first, std::int64_t most,
                           const std::string& source);

/// Labels by the first folder of each name, numbered in bytewise order of the folders.
/// Throws Error, whose message begins with `source`, if an image is not in a folder.
Labels labels_from_folders(const std::vector<std::string>& names, const std::string& source);

}  // namespace casdm::dataset_images
