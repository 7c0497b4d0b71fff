#include "arrays_dataset.h"

#include <algorithm>

#include "casdm/error.h"
#include "casdm/prepare_image.h"
#include "casdm/text.h"
#include "decoding.h"
#include "files.h"

namespace casdm::dataset_images {

namespace {

bool is_npz(const std::filesystem::path& path) { return path.extension() == ".npz"; }

/// The arrays in an archive: "images \"|u1\" [10, 32, 32, 3]".
std::string arrays_of(const NpzReader& archive) {
  std::vector<std::string> arrays;
  for (const std::string& name : archive.names()) arrays.push_back(text(name, " ", shown(archive.header(name))));
  return some_of(arrays);
}

std::string key_of_images(const ArraysOptions& options) {
  const NpzReader archive(options.path);
  const auto has = [&](const char* option, const std::string& key) {
    if (key.empty() || archive.has(key)) return;
    throw ConfigError(text(option, " = ", quoted(key), ": ", options.path.string(), " holds no such array; it holds ",
                           arrays_of(archive)));
  };
  has("images", options.images);
  has("labels", options.labels);
  if (!options.images.empty()) return options.images;
  std::vector<std::string> found;
  for (const std::string& name : archive.names()) {
    const std::size_t dimensions = archive.header(name).shape.size();
    if (dimensions == 3 || dimensions == 4) found.push_back(name);
  }
  if (found.size() == 1) return found.front();
  throw ConfigError(text(options.path.string(), " holds ", found.empty() ? "no array" : "several arrays",
                         " of three or four dimensions: ", arrays_of(archive),
                         found.empty() ? "; expected uint8 [N, H, W, 3]" : "; choose one by images = \"...\""));
}

ArrayRows open_images(const ArraysOptions& options) {
  require_exists(options.path, "a .npy or .npz file");
  if (std::filesystem::is_directory(options.path)) {
    throw ConfigError(text("path = '", options.path.string(), "': expected a .npy or .npz file, got a folder; type = ",
                           "\"imagenet_npz\" reads ImageNet's folders of .npz files"));
  }
  if (is_npz(options.path)) return {options.path, key_of_images(options)};
  for (const auto& [option, key] : {std::pair("images", options.images), std::pair("labels", options.labels)}) {
    if (key.empty()) continue;
    throw ConfigError(
        text(option, " = ", quoted(key), ": ", options.path.string(), " is not an .npz, so it holds one ",
             "array without a name; ",
             option == std::string_view("images") ? "leave images out" : "labels_path names a file of labels"));
  }
  return ArrayRows(options.path);
}

bool are_channels(std::int64_t side) { return side == 1 || side == 3; }

ImageLayout layout_of(const ArrayRows& rows, ArrayAxes wanted) {
  const std::vector<std::int64_t>& shape = rows.header().shape;
  const std::string found = text(rows.name(), " holds ", shown(rows.header()));
  if (rows.header().type != "|u1" || (shape.size() != 3 && shape.size() != 4)) {
    const bool is_float = rows.header().type.find('f') != std::string::npos;
    throw Error(text(found, "; expected 8-bit images, uint8 [N, H, W, C], [N, C, H, W] or [N, H, W]",
                     is_float ? ". Save them as bytes: values in [-1, 1] as clip((x + 1) * 127.5, 0, 255), in [0, 1] "
                                "as clip(255 x, 0, 255)"
                              : ""));
  }
  if (shape.size() == 3 && wanted != ArrayAxes::automatic) {
    throw ConfigError(
        text(found, ", grey images without a channel axis; leave axes = \"", to_string(wanted), "\" out"));
  }
  if (shape.size() == 3) return {shape[1], shape[2], 1, false};
  const bool can_be_hwc = are_channels(shape[3]), can_be_chw = are_channels(shape[1]);
  if (wanted == ArrayAxes::automatic && can_be_hwc && can_be_chw) {
    throw ConfigError(text(found, ", whose channels may come first or last; set axes = \"hwc\" or \"chw\""));
  }
  const bool is_planar = wanted == ArrayAxes::chw || (wanted == ArrayAxes::automatic && can_be_chw);
  if (is_planar ? !can_be_chw : !can_be_hwc) {
    throw Error(text(found, ", which are not images with axes = \"", to_string(wanted),
                     "\"; expected 1 or 3 channels, first or last"));
  }
  return is_planar ? ImageLayout{shape[2], shape[3], shape[1], true} : ImageLayout{shape[1], shape[2], shape[3], false};
}

Labels read_labels(const ArraysOptions& options, std::int64_t count) {
  if (options.labels.empty() && options.labels_path.empty()) return {};
  const ArrayRows rows =
      options.labels.empty() ? ArrayRows(options.labels_path) : ArrayRows(options.path, options.labels);
  return labels_from_numbers(rows.integers(), count, 0, 0, rows.name());
}

}  // namespace

ArraysDataset::ArraysDataset(const ArraysOptions& options, const Spec& spec)
    : spec_(spec), rows_(open_images(options)), layout_(layout_of(rows_, options.axes)) {
  require_channels(spec.image.channels);
  check_sides(layout_.width, layout_.height);
  labels_ = read_labels(options, rows_.size());
}

Example ArraysDataset::get(std::int64_t index) const {
  std::vector<std::uint8_t> row(rows_.row_bytes());
  rows_.read(index, row.data());
  return {prepare_image(image_of(std::move(row), layout_), spec_), labels_.at(index)};
}

std::string ArraysDataset::key(std::int64_t index) const { return text("image ", index); }

std::string ArraysDataset::describe(std::int64_t index) const { return text(rows_.name(), " ", key(index)); }

}  // namespace casdm::dataset_images
