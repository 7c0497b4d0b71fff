#include "folder_dataset.h"

#include "casdm/error.h"
#include "casdm/text.h"
#include "image_decoder.h"

namespace casdm::dataset_images {

namespace fs = std::filesystem;

namespace {

Labels read_labels(const FolderOptions& options, const std::vector<FoundFile>& images) {
  std::vector<std::string> names;
  for (const FoundFile& image : images) names.push_back(image.name);
  if (options.labels == "folders") return labels_from_folders(names, options.path.string());
  if (options.labels == "none") return {};
  const fs::path file = options.path / "dataset.json";
  const std::vector<std::uint8_t> json = read_bytes(file);
  Labels labels = labels_from_json({reinterpret_cast<const char*>(json.data()), json.size()}, names, file.string());
  if (labels.values.empty()) throw Error(text(file.string(), " has no labels; use labels = \"none\""));
  return labels;
}

}  // namespace

FolderDataset::FolderDataset(const FolderOptions& options, const Spec& spec) : channels_(spec.channels) {
  require_channels(channels_);
  require_exists(options.path, "a folder of images");
  if (!fs::is_directory(options.path)) {
    throw ConfigError(text("path = '", options.path.string(), "': expected a folder, got a file",
                           options.path.extension() == ".zip" ? "; type = \"zip\" reads zip archives" : ""));
  }
  for (FoundFile& file : list_files(options.path)) {
    if (is_image_name(file.name)) images_.push_back(std::move(file));
  }
  if (images_.empty()) {
    throw Error(text(options.path.string(), " holds no image (", kImageEndings, ") at any depth; it holds ",
                     contents_of(options.path)));
  }
  labels_ = read_labels(options, images_);
}

Example FolderDataset::get(std::int64_t index) const {
  const FoundFile& image = images_.at(static_cast<std::size_t>(index));
  return {decode_image(read_bytes(image.path), channels_, image.path.string()), labels_.at(index)};
}

}  // namespace casdm::dataset_images
