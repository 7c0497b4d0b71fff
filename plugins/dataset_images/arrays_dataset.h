#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "array_rows.h"
#include "casdm/choice.h"
#include "casdm/dataset.h"
#include "casdm/options.h"
#include "labels.h"
#include "part.h"

namespace casdm::dataset_images {

enum class ArrayAxes { automatic, hwc, chw };

constexpr auto choices_of(ArrayAxes) {
  using enum ArrayAxes;
  return choices<ArrayAxes>({{automatic, "auto"}, {hwc, "hwc"}, {chw, "chw"}});
}

struct ArraysOptions : PartOptions {
  std::filesystem::path path;
  std::string images;
  ArrayAxes axes = ArrayAxes::automatic;
  std::string labels;
  std::filesystem::path labels_path;

  static void describe(Schema<ArraysOptions>& s) {
    s.option("path", &ArraysOptions::path, "A .npy file, or an .npz.").existing_path().required().example("images.npz");
    s.option("images", &ArraysOptions::images,
             "The array of an .npz that holds the images; empty: the only one of three or four dimensions.");
    s.option("axes", &ArraysOptions::axes,
             "The order of an image's rows, columns and channels; `auto`: the channels are the side of 1 or 3.");
    s.option("labels", &ArraysOptions::labels,
             "The array of the .npz that holds the class numbers, from 0; empty: no labels.");
    s.option("labels_path", &ArraysOptions::labels_path,
             "A .npy file with the class numbers, from 0; empty: no such file.")
        .existing_path()
        .not_with("labels");
    describe_part(s);
  }
};

/// The images in an array of bytes: [N, H, W, C], [N, C, H, W], or grey as [N, H, W]. They are read when needed, except
/// those of a compressed .npz, which are held in memory.
class ArraysDataset : public Dataset {
 public:
  using Options = ArraysOptions;

  /// Throws ConfigError for an option that does not fit the file, Error if the file is damaged or its arrays have a
  /// different type or shape.
  ArraysDataset(const ArraysOptions& options, const Spec& spec);

  std::int64_t size() const override { return rows_.size(); }
  Example get(std::int64_t index) const override;
  std::int64_t num_classes() const override { return labels_.num_classes; }
  const Labels& labels() const { return labels_; }
  std::string describe(std::int64_t index) const override;
  std::string key(std::int64_t index) const;

 private:
  Spec spec_;
  ArrayRows rows_;
  ImageLayout layout_;
  Labels labels_;
};

}  // namespace casdm::dataset_images
