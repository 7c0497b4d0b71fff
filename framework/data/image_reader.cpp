#include "framework/data/image_reader.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <utility>

#include "casdm/error.h"
#include "casdm/prepare_image.h"
#include "casdm/text.h"
#include "framework/data/extras.h"
#include "framework/data/whole_image.h"
#include "framework/loading/plugin_call.h"
#include "framework/support/memory.h"

namespace casdm {

namespace {

std::int64_t gigabytes(double bytes) { return static_cast<std::int64_t>(std::ceil(bytes / 1e9)); }

/// Only plain images are cached.
std::unique_ptr<ImageCache> make_cache(const DataOptions& options, std::int64_t size, bool is_plain) {
  if (!is_plain) {
    if (options.cache != CacheMode::always) return nullptr;
    throw ConfigError("data.cache = \"always\": images in floating point and extras are not cached; leave it out");
  }
  const auto image_bytes = static_cast<std::size_t>(options.channels * options.image_size * options.image_size);
  const double bytes = static_cast<double>(size) * static_cast<double>(image_bytes);
  if (options.cache == CacheMode::never || (options.cache == CacheMode::automatic && bytes >= kMostCachedBytes))
    return nullptr;
  const auto machine = static_cast<double>(memory_of_machine());
  try {
    if (bytes > machine) throw std::bad_alloc();
    return std::make_unique<ImageCache>(size, image_bytes);
  } catch (const std::bad_alloc&) {
    throw ConfigError(text("data.cache = \"", to_string(options.cache), "\": ", size, " images of ", options.image_size,
                           " x ", options.image_size, " pixels take ", gigabytes(bytes), " GB, this machine has ",
                           gigabytes(machine), " GB; set data.cache = \"never\", or use a smaller data.image_size or ",
                           "fewer images"));
  }
}

/// [H, W, C] to [C, H, W].
template <class T>
std::vector<T> to_planes(const std::vector<T>& pixels, std::int64_t num_channels) {
  const auto channels = static_cast<std::size_t>(num_channels);
  const std::size_t plane = pixels.size() / channels;
  std::vector<T> planes(pixels.size());
  for (std::size_t c = 0; c < channels; ++c) {
    for (std::size_t i = 0; i < plane; ++i) planes[c * plane + i] = pixels[i * channels + c];
  }
  return planes;
}

/// Converts a floating-point image, which must already have the right shape.
std::vector<std::uint8_t> prepared_values(const Image& image, const ImageShape& shape) {
  const auto expected = static_cast<std::size_t>(shape.channels * shape.height * shape.width);
  if (image.channels != shape.channels || image.height != shape.height || image.width != shape.width ||
      image.values.size() != expected) {
    throw Error(text("an image in floating point has ", image.channels, " x ", image.height, " x ", image.width,
                     " and ", image.values.size(), " values; it must have the size asked for, ", shape.channels, " x ",
                     shape.height, " x ", shape.width));
  }
  require_pixel_range(image.values, "an image in floating point");
  const std::vector<float> planes = to_planes(image.values, image.channels);
  const auto* first = reinterpret_cast<const std::uint8_t*>(planes.data());
  return {first, first + planes.size() * sizeof(float)};
}

}  // namespace

ImageReader::ImageReader(std::shared_ptr<const Dataset> dataset, const DataOptions& options, bool is_share)
    : dataset_(std::move(dataset)),
      options_(options),
      size_(dataset_->size()),
      num_classes_(dataset_->num_classes()),
      is_floating_point_(dataset_->is_floating_point()),
      extras_(dataset_->extras()),
      cache_(make_cache(options, size_, !is_floating_point_ && extras_.empty())),
      record_(size_, is_share) {}

PreparedImage ImageReader::read(std::int64_t index) {
  if (!options_.skip_unreadable) return read_one(index);
  for (std::int64_t tried = 0; tried < size_; ++tried, index = (index + 1) % size_) {
    if (record_.is_unreadable(index)) continue;
    try {
      return read_one(index);
    } catch (const PluginError&) {
      throw;
    } catch (const Error& error) {
      record_.leave_out(index, name_of(index), error.what());
    }
  }
  throw Error(text("none of the ", size_, " images of the data set can be read; the first is ", name_of(0)));
}

PreparedImage ImageReader::read_one(std::int64_t index) {
  PreparedImage image;
  if (cache_ && cache_->read(index, image)) return image;
  const Example example = get(index);
  if (!example.remark.empty()) record_.remark(index, example.remark);
  try {
    image = prepared(example);
  } catch (const Error& error) {
    throw PluginError(text(error_prefix(options_.dataset), name_of(index),
                           ": the data set's plugin did not return a valid image: ", error.what()));
  } catch (const std::bad_alloc&) {
    throw_no_memory(index);
  }
  if (cache_) cache_->write(index, image);
  return image;
}

PreparedImage ImageReader::prepared(const Example& example) const {
  const ImageShape shape = ImageShape::square(options_.channels, options_.image_size);
  const bool has_other_kind = is_floating_point_ ? !example.image.pixels.empty() : !example.image.values.empty();
  if (has_other_kind) {
    throw Error(text("an image has ", is_floating_point_ ? "8-bit pixels" : "values in floating point",
                     ", and is_floating_point() says ", is_floating_point_ ? "true" : "false"));
  }
  PreparedImage image;
  image.label = example.label;
  if (is_floating_point_) {
    image.pixels = prepared_values(example.image, shape);
  } else {
    const Image fitted = prepare_image(example.image, {shape});
    image.pixels = to_planes(fitted.pixels, fitted.channels);
  }
  for (const ExtraInfo& extra : extras_) image.extras.push_back(prepared_extra(extra, example));
  if (example.extras.size() > extras_.size()) {
    throw Error(text("an image has ", example.extras.size(), " extras; extras() declares ", extras_.size()));
  }
  return image;
}

Example ImageReader::get(std::int64_t index) const {
  Example example;
  try {
    example = call_plugin(options_.dataset, [&] {
      try {
        return dataset_->get(index);
      } catch (const std::bad_alloc&) {
        throw_no_memory(index);
      }
    });
  } catch (const PluginError& error) {
    throw PluginError(text(error.what(), " (reading ", name_of(index), ")"));
  }
  if (options_.use_labels && (example.label < 0 || example.label >= num_classes_)) {
    throw PluginError(text(error_prefix(options_.dataset), name_of(index), " has the label ", example.label,
                           "; the data set promises 0 to ", num_classes_ - 1));
  }
  return example;
}

void ImageReader::throw_no_memory(std::int64_t index) const {
  throw Error(text(name_of(index), " cannot be read: there is not enough memory"));
}

std::string ImageReader::name_of(std::int64_t index) const {
  return call_plugin(options_.dataset, [&] { return dataset_->describe(index); });
}

}  // namespace casdm
