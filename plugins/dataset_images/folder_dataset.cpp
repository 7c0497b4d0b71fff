#include "folder_dataset.h"

#include <algorithm>
#include <set>

#include "casdm/error.h"
#include "casdm/text.h"
#include "decoding.h"

namespace casdm::dataset_images {

namespace fs = std::filesystem;

namespace {

Labels read_labels(const FolderOptions& options, const std::vector<FoundFile>& images) {
  std::vector<std::string> names;
  for (const FoundFile& image : images) names.push_back(image.name);
  if (options.labels == LabelSource::folders) return labels_from_folders(names, options.path.string());
  if (options.labels == LabelSource::none) return {};
  const fs::path file = options.path / "dataset.json";
  const std::vector<std::uint8_t> json = read_bytes(file, json_limit(names));
  Labels labels = labels_from_json({reinterpret_cast<const char*>(json.data()), json.size()}, names, file.string());
  if (labels.values.empty()) throw Error(text(file.string(), " has no labels; use labels = \"none\""));
  return labels;
}

/// Otherwise a class whose images all have an unsupported format would disappear.
void require_images_in_folders(const fs::path& path, const std::vector<FoundFile>& images) {
  std::set<std::string> full;
  for (const FoundFile& image : images) full.insert(image.name.substr(0, image.name.find('/')));
  std::vector<std::string> empty;
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && !name.starts_with('.') && !full.contains(name)) empty.push_back(name);
  }
  if (empty.empty()) return;
  std::sort(empty.begin(), empty.end());
  throw Error(text(path.string(), ": the class folder ", empty.front(), " holds no image (", kImageEndings,
                   "); it holds ", contents_of(path / empty.front()), "; convert or remove ",
                   empty.size() == 1 ? "it" : text("it, and ", some_of({empty.begin() + 1, empty.end()}))));
}

}  // namespace

FolderDataset::FolderDataset(const FolderOptions& options, const Spec& spec) : form_{spec, options.exif_orientation} {
  require_channels(spec.image.channels);
  require_exists(options.path, "a folder of images");
  if (!fs::is_directory(options.path)) {
    throw ConfigError(text("path = '", options.path.string(), "': expected a folder, got a file",
                           options.path.extension() == ".zip" ? "; type = \"zip\" reads zip archives" : ""));
  }
  std::vector<std::string> others;
  const bool is_of_samples = fs::exists(options.path / "sampling.json");  // whose grid.png shows many of them
  for (FoundFile& file : list_files(options.path)) {
    if (is_of_samples && file.name == "grid.png") {
      others.push_back(std::move(file.name));
    } else if (is_image_name(file.name)) {
      images_.push_back(std::move(file));
    } else if (file.name != "dataset.json") {
      others.push_back(std::move(file.name));
    }
  }
  left_out_ = left_out_files(others);
  if (images_.empty()) {
    throw Error(text(options.path.string(), " holds no image (", kImageEndings, ") at any depth; it holds ",
                     contents_of(options.path)));
  }
  labels_ = read_labels(options, images_);
  if (options.labels == LabelSource::folders) require_images_in_folders(options.path, images_);
}

Example FolderDataset::get(std::int64_t index) const {
  const FoundFile& image = images_.at(static_cast<std::size_t>(index));
  Example example = decode_image(read_bytes(image.path, kMaxFileBytes), form_, image.path.string());
  example.label = labels_.at(index);
  return example;
}

}  // namespace casdm::dataset_images
