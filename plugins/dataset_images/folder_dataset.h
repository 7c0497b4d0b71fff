#pragma once

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

enum class LabelSource { none, folders, json };

constexpr auto choices_of(LabelSource) {
  using enum LabelSource;
  return choices<LabelSource>({{none, "none"}, {folders, "folders"}, {json, "json"}});
}

struct FolderOptions : PartOptions {
  std::filesystem::path path;
  LabelSource labels = LabelSource::none;
  ExifOrientation exif_orientation = ExifOrientation::ignore;

  static void describe(Schema<FolderOptions>& s) {
    s.option("path", &FolderOptions::path, "The folder.").existing_path().required().example("images");
    s.option("labels", &FolderOptions::labels,
             "Class labels: `none`; `folders`, the sub-folders of `path` in the order of their names; `json`, the file "
             "dataset.json in `path` (EDM's layout).");
    s.option("exif_orientation", &FolderOptions::exif_orientation, kOrientationHelp);
    describe_part(s);
  }
};

/// The images of a folder and of all folders below it, in the bytewise order of their relative names.
class FolderDataset : public Dataset {
 public:
  using Options = FolderOptions;

  /// Throws ConfigError if there is no such folder, Error if it cannot be read or contains no image, if its labels do
  /// not match its images, or if, with labels = "folders", a class has no image.
  FolderDataset(const FolderOptions& options, const Spec& spec);

  std::int64_t size() const override { return static_cast<std::int64_t>(images_.size()); }
  Example get(std::int64_t index) const override;
  std::int64_t num_classes() const override { return labels_.num_classes; }
  const Labels& labels() const { return labels_; }
  std::string describe(std::int64_t index) const override {
    return images_.at(static_cast<std::size_t>(index)).path.string();
  }
  const std::string& key(std::int64_t index) const { return images_.at(static_cast<std::size_t>(index)).name; }
  std::string left_out() const override { return left_out_; }

 private:
  ImageForm form_;
  std::vector<FoundFile> images_;
  Labels labels_;
  std::string left_out_;
};

}  // namespace casdm::dataset_images
