#include "framework/data/image_reader.h"

#include <cmath>
#include <new>
#include <utility>

#include "casdm/error.h"
#include "casdm/prepare_image.h"
#include "casdm/text.h"
#include "framework/loading/plugin_call.h"
#include "framework/support/memory.h"

namespace casdm {

namespace {

/// data.cache = "auto" keeps images that take less.
constexpr double kSmall = std::size_t{1} << 30;

std::int64_t gigabytes(double bytes) { return static_cast<std::int64_t>(std::ceil(bytes / 1e9)); }

std::unique_ptr<ImageCache> make_cache(const DataOptions& options, std::int64_t size) {
  const auto image_bytes = static_cast<std::size_t>(options.channels * options.image_size * options.image_size);
  const double bytes = static_cast<double>(size) * static_cast<double>(image_bytes);
  if (options.cache == "never" || (options.cache == "auto" && bytes >= kSmall)) return nullptr;
  const auto machine = static_cast<double>(memory_of_machine());
  try {
    if (bytes > machine) throw std::bad_alloc();
    return std::make_unique<ImageCache>(size, image_bytes);
  } catch (const std::bad_alloc&) {
    throw ConfigError(text("data.cache = \"", options.cache, "\": ", size, " images of ", options.image_size, " x ",
                           options.image_size, " pixels take ", gigabytes(bytes), " GB, this machine has ",
                           gigabytes(machine), " GB; set data.cache = \"never\", or use a smaller data.image_size or ",
                           "fewer images"));
  }
}

/// [H, W, C] to [C, H, W].
std::vector<std::uint8_t> to_planes(const Image& image) {
  const auto channels = static_cast<std::size_t>(image.channels);
  const std::size_t plane = image.pixels.size() / channels;
  std::vector<std::uint8_t> planes(image.pixels.size());
  for (std::size_t c = 0; c < channels; ++c) {
    for (std::size_t i = 0; i < plane; ++i) planes[c * plane + i] = image.pixels[i * channels + c];
  }
  return planes;
}

}  // namespace

ImageReader::ImageReader(std::shared_ptr<const Dataset> dataset, const DataOptions& options)
    : dataset_(std::move(dataset)),
      options_(options),
      size_(dataset_->size()),
      num_classes_(dataset_->num_classes()),
      cache_(make_cache(options, size_)),
      record_(size_) {}

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
    image = {to_planes(prepare_image(example.image, {options_.image_size, options_.channels})), example.label};
  } catch (const Error& error) {
    throw PluginError(text(name_of(index), ": the data set's plugin made no valid image: ", error.what()));
  } catch (const std::bad_alloc&) {
    throw_no_memory(index);
  }
  if (cache_) cache_->write(index, image);
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
    throw PluginError(
        text(name_of(index), " has the label ", example.label, "; the data set promises 0 to ", num_classes_ - 1));
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
