#include "imagenet_dataset.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "casdm/error.h"
#include "casdm/prepare_image.h"
#include "casdm/text.h"
#include "files.h"

namespace casdm::dataset_images {

namespace {

constexpr int kTrainBatches = 10;
constexpr const char* kData = "data";
constexpr const char* kLabels = "labels";

std::vector<std::string> files_of(Split split) {
  if (split == Split::test) return {"val_data.npz"};
  std::vector<std::string> files;
  for (int number = 1; number <= kTrainBatches; ++number) files.push_back(text("train_data_batch_", number, ".npz"));
  return files;
}

/// The side of images stored as three consecutive planes; 0 if they are not.
std::int64_t side_of(const NpyHeader& header) {
  if (header.type != "|u1" || header.shape.size() != 2 || header.shape[1] % 3 != 0) return 0;
  const auto side = static_cast<std::int64_t>(std::llround(std::sqrt(static_cast<double>(header.shape[1] / 3))));
  return side * side * 3 == header.shape[1] ? side : 0;
}

}  // namespace

ImageNetDataset::ImageNetDataset(const ImageNetOptions& options, const Spec& spec) : path_(options.path), spec_(spec) {
  require_channels(spec.image.channels);
  require_exists(path_, "a folder of ImageNet's .npz batches");
  if (!std::filesystem::is_directory(path_)) {
    throw ConfigError(text("path = '", path_.string(), "': expected the folder of ImageNet's batches, got a file; ",
                           "type = \"arrays\" reads a single .npz"));
  }
  std::map<std::string, std::filesystem::path, std::less<>> found;
  std::vector<std::string> seen;
  for (const FoundFile& file : list_files(path_)) {
    seen.push_back(file.name);
    const auto [first, is_new] = found.emplace(file_name(file.name), file.path);
    if (is_new || !first->first.ends_with(".npz")) continue;
    throw Error(
        text(path_.string(), " holds ", first->first, " twice: ", first->second.string(), " and ", file.path.string()));
  }
  std::vector<std::string> missing;
  for (const std::string& file : files_of(options.split)) {
    if (!found.contains(file)) missing.push_back(file);
  }
  if (!missing.empty()) {
    throw Error(text(path_.string(), " lacks ", join(missing, ", "), " of ImageNet's ", to_string(options.split),
                     " batches; it holds ", some_of(seen)));
  }
  for (const std::string& file : files_of(options.split)) add(found.at(file));
}

void ImageNetDataset::add(const std::filesystem::path& path) {
  const NpzReader archive(path);
  for (const char* key : {kData, kLabels}) {
    if (archive.has(key)) continue;
    throw Error(text(path.string(), " holds no array '", key, "'; it holds ", some_of(archive.names()),
                     ". Expected ImageNet's batches: data and labels; type = \"arrays\" reads others"));
  }
  Batch batch{path, ArrayRows(path, kData), size()};
  const std::int64_t side = side_of(batch.rows.header());
  if (side == 0 || (side_ != 0 && side != side_)) {
    const std::string sides = side_ == 0 ? "3 * side * side" : text(3 * side_ * side_, ", as the batches before");
    throw Error(text(batch.rows.name(), " holds ", shown(batch.rows.header()), "; expected uint8 [N, ", sides, "]"));
  }
  side_ = side;
  const ArrayRows numbers(path, kLabels);
  const Labels labels = labels_from_numbers(numbers.integers(), batch.rows.size(), 1, num_classes(), numbers.name());
  for (const std::int64_t label : labels.values) labels_.push_back(static_cast<std::int16_t>(label));
  batches_.push_back(std::move(batch));
}

const ImageNetDataset::Batch& ImageNetDataset::batch_of(std::int64_t index) const {
  if (index < 0 || index >= size()) throw Error(text(path_.string(), " has no image ", index));
  const auto next = std::upper_bound(batches_.begin(), batches_.end(), index,
                                     [](std::int64_t at, const Batch& batch) { return at < batch.first; });
  return *std::prev(next);
}

Example ImageNetDataset::get(std::int64_t index) const {
  const Batch& batch = batch_of(index);
  std::vector<std::uint8_t> row(batch.rows.row_bytes());
  batch.rows.read(index - batch.first, row.data());
  return {prepare_image(image_of(std::move(row), {side_, side_, 3, true}), spec_),
          labels_[static_cast<std::size_t>(index)]};
}

std::string ImageNetDataset::key(std::int64_t index) const {
  const Batch& batch = batch_of(index);
  return text(batch.path.filename().string(), " image ", index - batch.first);
}

std::string ImageNetDataset::describe(std::int64_t index) const {
  return text(batch_of(index).path.string(), " image ", index - batch_of(index).first);
}

}  // namespace casdm::dataset_images
