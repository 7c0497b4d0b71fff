#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "casdm/choice.h"
#include "casdm/dataset.h"
#include "casdm/options.h"
#include "files.h"
#include "image_decoder.h"
#include "labels.h"
#include "part.h"

namespace casdm::dataset_images {

enum class ShardLabels { none, cls };

constexpr auto choices_of(ShardLabels) {
  using enum ShardLabels;
  return choices<ShardLabels>({{none, "none"}, {cls, "cls"}});
}

struct ShardsOptions : PartOptions {
  std::filesystem::path path;
  ShardLabels labels = ShardLabels::none;
  ExifOrientation exif_orientation = ExifOrientation::ignore;

  static void describe(Schema<ShardsOptions>& s) {
    s.option("path", &ShardsOptions::path, "A folder of tar archives, or one of them; not compressed.")
        .existing_path()
        .required()
        .example("imagenet-shards");
    s.option("labels", &ShardsOptions::labels,
             "Class labels: `none`; `cls`, the number in the file of each sample that ends in .cls, from 0.");
    s.option("exif_orientation", &ShardsOptions::exif_orientation, kOrientationHelp);
    describe_part(s);
  }
};

/// The images of tar archives in WebDataset's format: the files of a sample follow one another and differ only in the
/// part of their names after the first dot. Archives are in the order of their names, samples in the order within their
/// archive. Their positions are determined when the data set is opened; images are read when needed.
class ShardsDataset : public Dataset {
 public:
  using Options = ShardsOptions;

  /// Throws ConfigError if the path does not exist, Error if an archive is damaged, compressed, or missing from a
  /// numbered sequence, or if a sample lacks its image or label, has two images, or is split.
  ShardsDataset(const ShardsOptions& options, const Spec& spec);

  std::int64_t size() const override { return std::ssize(samples_); }
  Example get(std::int64_t index) const override;
  std::int64_t num_classes() const override { return labels_.num_classes; }
  const Labels& labels() const { return labels_; }
  std::string describe(std::int64_t index) const override;
  std::string key(std::int64_t index) const;
  std::string left_out() const override { return left_out_; }

 private:
  struct Sample {
    std::size_t shard;
    std::string image;  ///< the file's name
    std::uint64_t offset;
    std::uint64_t size;
  };
  struct Shard {
    std::string name;
    std::filesystem::path path;
    FileVersion version;  ///< when its headers were read
  };

  static std::vector<std::uint8_t> read_part(const Shard& shard, std::uint64_t offset, std::uint64_t size);
  void find_shards(std::vector<std::string>& others);
  void add_samples(std::size_t shard, bool has_labels, std::vector<std::string>& others,
                   std::vector<std::int64_t>& labels);
  std::int64_t read_label(const Shard& shard, const std::string& name, std::uint64_t offset, std::uint64_t size) const;

  std::filesystem::path path_;
  ImageForm form_;
  std::vector<Shard> shards_;
  std::vector<Sample> samples_;
  Labels labels_;
  std::string left_out_;
};

}  // namespace casdm::dataset_images
