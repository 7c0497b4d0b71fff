#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "casdm/dataset.h"
#include "casdm/options.h"
#include "image_decoder.h"
#include "labels.h"
#include "part.h"

struct zip;

namespace casdm::dataset_images {

struct ZipOptions : PartOptions {
  std::filesystem::path path;
  ExifOrientation exif_orientation = ExifOrientation::ignore;

  static void describe(Schema<ZipOptions>& s) {
    s.option("path", &ZipOptions::path, "The zip archive.")
        .existing_path()
        .required()
        .example("examples/data/emoji32.zip");
    s.option("exif_orientation", &ZipOptions::exif_orientation, kOrientationHelp);
    describe_part(s);
  }
};

/// The images of a zip archive in the bytewise order of their names, in the format of StyleGAN's and EDM's data set
/// tools: images in any folders, and in `dataset.json`, if there is one, class labels or null.
class ZipDataset : public Dataset {
 public:
  using Options = ZipOptions;

  /// Throws ConfigError if there is no such file, Error if it is not a zip archive, contains no image or two with the
  /// same name, or if its labels do not match its images.
  ZipDataset(const ZipOptions& options, const Spec& spec);

  std::int64_t size() const override { return static_cast<std::int64_t>(names_.size()); }
  Example get(std::int64_t index) const override;
  std::int64_t num_classes() const override { return labels_.num_classes; }
  const Labels& labels() const { return labels_; }
  std::string describe(std::int64_t index) const override;
  const std::string& key(std::int64_t index) const { return names_.at(static_cast<std::size_t>(index)); }
  std::string left_out() const override { return left_out_; }

 private:
  std::vector<std::uint8_t> read_entry(std::uint64_t entry, const std::string& name, std::uint64_t limit) const;

  std::filesystem::path path_;
  ImageForm form_;
  mutable std::mutex mutex_;  ///< libzip's handles serve one thread at a time; decoding is outside
  std::shared_ptr<zip> archive_;
  std::vector<std::string> names_;
  std::vector<std::uint64_t> entries_;  ///< index in the archive of each name
  Labels labels_;
  std::string left_out_;
};

}  // namespace casdm::dataset_images
