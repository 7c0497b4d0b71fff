#include "framework/data/batch_loader.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/data/image_order.h"
#include "framework/data/image_reader.h"

namespace casdm {

namespace {

template <class T>
void mirror(std::vector<std::uint8_t>& bytes, std::int64_t width) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  for (auto row = values.begin(); row != values.end(); row += width) std::reverse(row, row + width);
  std::memcpy(bytes.data(), values.data(), bytes.size());
}

void check(const Dataset& dataset, const DataOptions& options, std::int64_t first_position) {
  if (dataset.size() <= 0) throw ConfigError("the data set is empty: it has no images");
  if (options.channels != 1 && options.channels != 3) {
    throw ConfigError(text("data.channels = ", options.channels, ": expected 3 (RGB) or 1 (grey)"));
  }
  if (options.use_labels && dataset.num_classes() <= 0) {
    throw ConfigError("data.use_labels = true, but the data set has no labels");
  }
  for (const ExtraInfo& extra : dataset.extras()) {
    if (extra.is_image && (extra.is_integer || extra.shape.size() != 3)) {
      throw PluginError(
          text("the extra ", quoted(extra.name), " of the data set is an image without [C, H, W] of float32"));
    }
  }
  if (first_position < 0) {
    throw Error(text("the stream of images cannot start at position ", first_position, ": expected 0 or more"));
  }
}

}  // namespace

/// The threads that fill the ring of batches.
class BatchLoader::Stream {
 public:
  Stream(std::shared_ptr<const Dataset> dataset, const DataOptions& options, BatchSlice slice, std::uint64_t seed,
         std::int64_t first_position, std::function<void(const std::string&)> warn)
      : options_(options),
        seed_(seed),
        size_(dataset->size()),
        null_label_(dataset->num_classes()),
        warn_(warn ? std::move(warn) : [](const std::string&) {}),
        order_(size_, seed),
        content_{dataset->is_floating_point(), dataset->extras()},
        reader_(std::move(dataset), options, slice.count < slice.batch_size),
        slice_(slice),
        ring_(options, slice.count, 0, content_),
        first_position_(first_position) {
    threads_.reserve(static_cast<std::size_t>(options.workers));
    try {
      for (std::int64_t i = 0; i < options.workers; ++i) threads_.emplace_back([this] { work(); });
    } catch (const std::system_error& error) {
      stop();
      throw Error(text("data.workers = ", options.workers, ": the system gives no more than ", threads_.size(),
                       " threads: ", error.code().message()));
    }
  }

  ~Stream() { stop(); }

  bool wait(const std::function<bool()>& is_cancelled) { return ring_.wait(is_cancelled); }

  ImageBatch next() {
    ring_.wait();
    for (const std::string& line : reader_.record().take_warnings()) warn_(line);
    ImageBatch batch = ring_.take();
    batch.first_position = position_of(batch.first_position);
    const std::int64_t end = batch.first_position + batch.images.size(0);
    if (end / size_ > batch.first_position / size_) summarise();
    return batch;
  }

  void summarise() {
    for (const std::string& line : reader_.record().take_summary()) warn_(line);
  }

 private:
  void work() {
    while (const std::optional<BatchRing::Place> place = ring_.claim()) {
      std::exception_ptr failure;
      try {
        fill(*place);
      } catch (...) {
        failure = std::current_exception();
      }
      ring_.settle(place->position, failure);
    }
  }

  /// The position in the stream of images of the `index`th image delivered here.
  std::int64_t position_of(std::int64_t index) const {
    return first_position_ + index / slice_.count * slice_.batch_size + slice_.first + index % slice_.count;
  }

  void fill(const BatchRing::Place& place) {
    const std::int64_t position = position_of(place.position);
    PreparedImage image = reader_.read(order_.index_at(position));
    if (options_.random_flip && draw("flip", position) < 0.5) flip(image);
    std::memcpy(place.pixels, image.pixels.data(), image.pixels.size());
    for (std::size_t i = 0; i < image.extras.size(); ++i) {
      std::memcpy(place.extras[i], image.extras[i].data(), image.extras[i].size());
    }
    if (place.label == nullptr) return;
    const bool is_dropped = options_.label_dropout > 0 && draw("label_dropout", position) < options_.label_dropout;
    *place.label = is_dropped ? null_label_ : image.label;
  }

  void flip(PreparedImage& image) const {
    if (content_.is_floating_point) {
      mirror<float>(image.pixels, options_.image_size);
    } else {
      mirror<std::uint8_t>(image.pixels, options_.image_size);
    }
    for (std::size_t i = 0; i < content_.extras.size(); ++i) {
      if (content_.extras[i].is_image) mirror<float>(image.extras[i], content_.extras[i].shape.back());
    }
  }

  double draw(std::string_view purpose, std::int64_t position) const {
    return uniform(derive_seed(seed_, purpose, static_cast<std::uint64_t>(position)));
  }

  void stop() {
    ring_.stop();
    for (std::thread& thread : threads_) thread.join();
  }

  DataOptions options_;
  std::uint64_t seed_;
  std::int64_t size_;
  std::int64_t null_label_;
  std::function<void(const std::string&)> warn_;
  ImageOrder order_;
  ImageContent content_;
  ImageReader reader_;
  BatchSlice slice_;
  BatchRing ring_;  ///< its positions count delivered images, from 0
  std::int64_t first_position_;
  std::vector<std::thread> threads_;
};

BatchLoader::BatchLoader(std::shared_ptr<const Dataset> dataset, const DataOptions& options, BatchSlice slice,
                         std::uint64_t seed, std::int64_t first_position,
                         std::function<void(const std::string&)> warn) {
  check(*dataset, options, first_position);
  stream_ = std::make_unique<Stream>(std::move(dataset), options, slice, seed, first_position, std::move(warn));
}

BatchLoader::~BatchLoader() = default;

bool BatchLoader::wait(const std::function<bool()>& is_cancelled) { return stream_->wait(is_cancelled); }

ImageBatch BatchLoader::next() { return stream_->next(); }

void BatchLoader::summarise() { stream_->summarise(); }

}  // namespace casdm
