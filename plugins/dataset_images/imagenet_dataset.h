#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "array_rows.h"
#include "casdm/dataset.h"
#include "casdm/options.h"
#include "cifar_batches.h"
#include "labels.h"
#include "part.h"

namespace casdm::dataset_images {

struct ImageNetOptions : FractionOptions {
  std::filesystem::path path;
  Split split = Split::train;

  static void describe(Schema<ImageNetOptions>& s) {
    s.option("path", &ImageNetOptions::path,
             "A folder that holds train_data_batch_1.npz to train_data_batch_10.npz, or val_data.npz, at any depth.")
        .existing_path()
        .required()
        .example("Imagenet64_train_npz");
    s.option("split", &ImageNetOptions::split,
             "The 1,281,167 images for training, or the 50,000 for validation (`test`).");
    describe_fraction(s);
  }
};

/// Downsampled ImageNet (Chrabaszcz et al. 2017) of 8, 16, 32 or 64 pixels: batches with `data`, each image as three
/// consecutive planes, and `labels`, 1 to 1000, which become 0 to 999. Images are read when needed, except those of
/// compressed batches, which are held in memory.
class ImageNetDataset : public Dataset {
 public:
  using Options = ImageNetOptions;

  /// Throws ConfigError if there is no such folder, Error if a batch is missing, exists twice, is damaged, has a
  /// different format from the rest, or has labels out of range.
  ImageNetDataset(const ImageNetOptions& options, const Spec& spec);

  std::int64_t size() const override { return std::ssize(labels_); }
  Example get(std::int64_t index) const override;
  std::int64_t num_classes() const override { return 1000; }
  Labels labels() const { return {{labels_.begin(), labels_.end()}, num_classes()}; }
  std::string describe(std::int64_t index) const override;
  std::string key(std::int64_t index) const;

 private:
  struct Batch {
    std::filesystem::path path;
    ArrayRows rows;
    std::int64_t first;  ///< index of its first image in the data set
  };

  void add(const std::filesystem::path& path);
  const Batch& batch_of(std::int64_t index) const;

  std::filesystem::path path_;
  Spec spec_;
  std::int64_t side_ = 0;
  std::vector<Batch> batches_;
  std::vector<std::int16_t> labels_;
};

}  // namespace casdm::dataset_images
