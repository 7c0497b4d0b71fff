#include "framework/data/batch_loader.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/text.h"
#include "framework/data/image_transform.h"
#include "framework/loading/plugin_call.h"

namespace casdm {

namespace {

/// Which image stands at a position of the stream. Thread-safe.
class Order {
 public:
  Order(std::int64_t size, std::uint64_t seed) : size_(size), seed_(seed) {}

  std::int64_t index_at(std::int64_t position) {
    const std::shared_ptr<const std::vector<std::int64_t>> order = epoch(position / size_);
    return (*order)[static_cast<std::size_t>(position % size_)];
  }

 private:
  std::shared_ptr<const std::vector<std::int64_t>> epoch(std::int64_t number) {
    const std::lock_guard lock(mutex_);
    auto& order = epochs_[number];
    if (!order) {
      order = std::make_shared<std::vector<std::int64_t>>(
          permutation(size_, derive_seed(seed_, "order", static_cast<std::uint64_t>(number))));
    }
    const auto result = order;
    while (epochs_.size() > kKept) epochs_.erase(epochs_.begin());
    return result;
  }

  static constexpr std::size_t kKept = 3;
  std::int64_t size_;
  std::uint64_t seed_;
  std::mutex mutex_;
  std::map<std::int64_t, std::shared_ptr<const std::vector<std::int64_t>>> epochs_;
};

/// A prepared image: pixels in the order of a tensor, [C, H, W].
struct Prepared {
  std::vector<std::uint8_t> pixels;
  std::int64_t label = -1;
};

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

/// Prepared images by index, each written once. Thread-safe without locks.
class Cache {
 public:
  Cache(std::int64_t count, std::size_t image_bytes)
      : image_bytes_(image_bytes),
        pixels_(new std::uint8_t[static_cast<std::size_t>(count) * image_bytes]),
        labels_(static_cast<std::size_t>(count)),
        states_(static_cast<std::size_t>(count)) {}

  bool read(std::int64_t index, Prepared& image) const {
    const auto i = static_cast<std::size_t>(index);
    if (states_[i].load(std::memory_order_acquire) != State::ready) return false;
    const std::uint8_t* source = pixels_.get() + i * image_bytes_;
    image.pixels.assign(source, source + image_bytes_);
    image.label = labels_[i];
    return true;
  }

  /// Does nothing when another thread is writing or has written the image.
  void write(std::int64_t index, const Prepared& image) {
    const auto i = static_cast<std::size_t>(index);
    State expected = State::absent;
    if (!states_[i].compare_exchange_strong(expected, State::writing)) return;
    std::memcpy(pixels_.get() + i * image_bytes_, image.pixels.data(), image_bytes_);
    labels_[i] = image.label;
    states_[i].store(State::ready, std::memory_order_release);
  }

 private:
  enum class State : std::uint8_t { absent, writing, ready };
  std::size_t image_bytes_;
  std::unique_ptr<std::uint8_t[]> pixels_;  // uninitialised, so that memory is taken only as images arrive
  std::vector<std::int64_t> labels_;
  std::vector<std::atomic<State>> states_;
};

/// Reads images by index, prepares them, and remembers them and those that cannot be read. Thread-safe.
class Reader {
 public:
  Reader(std::shared_ptr<const Dataset> dataset, const DataOptions& options)
      : dataset_(std::move(dataset)),
        options_(options),
        size_(dataset_->size()),
        num_classes_(dataset_->num_classes()) {
    constexpr std::size_t small = std::size_t{1} << 30;
    const auto total = static_cast<double>(size_) * static_cast<double>(image_bytes());
    if (options.cache == "always" || (options.cache == "auto" && total < static_cast<double>(small))) {
      cache_ = std::make_unique<Cache>(size_, image_bytes());
    }
  }

  std::size_t image_bytes() const {
    return static_cast<std::size_t>(options_.channels * options_.image_size * options_.image_size);
  }

  /// Image `index`, or with skip_unreadable the next one that can be read.
  Prepared read(std::int64_t index) {
    if (!options_.skip_unreadable) return read_one(index);
    for (std::int64_t tried = 0; tried < size_; ++tried, index = (index + 1) % size_) {
      if (is_unreadable(index)) continue;
      try {
        return read_one(index);
      } catch (const PluginError&) {
        throw;
      } catch (const Error& error) {
        mark_unreadable(index, error.what());
      }
    }
    throw Error(
        text("none of the ", size_, " images of the data set can be read; the first is ", dataset_->describe(0)));
  }

  /// What was newly found unreadable since the last call.
  std::vector<std::string> take_warnings() {
    const std::lock_guard lock(mutex_);
    return std::exchange(warnings_, {});
  }

 private:
  Prepared read_one(std::int64_t index) {
    Prepared prepared;
    if (cache_ && cache_->read(index, prepared)) return prepared;
    const Example example = call_plugin(options_.dataset, [&] { return dataset_->get(index); });
    if (options_.use_labels && (example.label < 0 || example.label >= num_classes_)) {
      throw PluginError(text(dataset_->describe(index), " has the label ", example.label,
                             "; the data set promises 0 to ", num_classes_ - 1));
    }
    prepared = {to_planes(prepare(example.image, index)), example.label};
    if (cache_) cache_->write(index, prepared);
    return prepared;
  }

  Image prepare(const Image& image, std::int64_t index) const {
    try {
      return prepare_image(image, options_.image_size, options_.channels);
    } catch (const Error& error) {
      throw PluginError(text(dataset_->describe(index), ": the data set's plugin made no valid image: ", error.what()));
    }
  }

  bool is_unreadable(std::int64_t index) {
    const std::lock_guard lock(mutex_);
    return unreadable_.contains(index);
  }

  void mark_unreadable(std::int64_t index, const char* reason) {
    const std::lock_guard lock(mutex_);
    if (unreadable_.insert(index).second) warnings_.push_back(text("skipped an image: ", reason));
  }

  std::shared_ptr<const Dataset> dataset_;
  DataOptions options_;
  std::int64_t size_;
  std::int64_t num_classes_;
  std::unique_ptr<Cache> cache_;
  std::mutex mutex_;
  std::set<std::int64_t> unreadable_;
  std::vector<std::string> warnings_;
};

void mirror(std::vector<std::uint8_t>& pixels, std::int64_t width) {
  for (auto row = pixels.begin(); row != pixels.end(); row += width) std::reverse(row, row + width);
}

void check(const Dataset& dataset, const DataOptions& options) {
  if (dataset.size() <= 0) throw ConfigError("the data set is empty: it has no image");
  if (options.channels != 1 && options.channels != 3) {
    throw ConfigError(text("data.channels = ", options.channels, ": expected 3 (RGB) or 1 (grey)"));
  }
  if (options.use_labels && dataset.num_classes() <= 0) {
    throw ConfigError("data.use_labels = true, but the data set has no labels");
  }
}

}  // namespace

/// The threads and the ring of batches they fill.
class BatchLoader::Stream {
 public:
  Stream(std::shared_ptr<const Dataset> dataset, const DataOptions& options, std::int64_t batch_size,
         std::uint64_t seed, std::int64_t first_position, std::function<void(const std::string&)> warn)
      : options_(options),
        batch_size_(batch_size),
        seed_(seed),
        warn_(std::move(warn)),
        order_(dataset->size(), seed),
        null_label_(dataset->num_classes()),
        reader_(std::move(dataset), options),
        first_position_(first_position),
        next_position_(first_position) {
    // Enough for every thread to have an image in hand while a whole batch waits.
    const std::int64_t ahead = 1 + (options.workers + batch_size - 1) / batch_size;
    ring_.resize(static_cast<std::size_t>(std::max<std::int64_t>(ahead, 2)));
    for (Slot& slot : ring_) reset(slot);
    try {
      for (std::int64_t i = 0; i < options.workers; ++i) threads_.emplace_back([this] { work(); });
    } catch (...) {
      stop();
      throw;
    }
  }

  ~Stream() { stop(); }

  ImageBatch next() {
    std::unique_lock lock(mutex_);
    Slot& slot = slot_of(batch_);
    filled_.wait(lock, [&] { return slot.missing == 0; });
    lock.unlock();
    for (const std::string& warning : reader_.take_warnings()) {
      if (warn_) warn_(warning);
    }
    if (slot.failure) std::rethrow_exception(slot.failure);
    ImageBatch batch{slot.images, slot.labels, first_position_ + batch_ * batch_size_};
    lock.lock();
    reset(slot);
    ++batch_;
    lock.unlock();
    room_.notify_all();
    return batch;
  }

 private:
  struct Slot {
    at::Tensor images;
    at::Tensor labels;
    std::int64_t missing = 0;
    std::int64_t failed_position = 0;
    std::exception_ptr failure;  ///< of the lowest position, so that it does not depend on timing
  };

  Slot& slot_of(std::int64_t batch) { return ring_[static_cast<std::size_t>(batch) % ring_.size()]; }

  void reset(Slot& slot) {
    const auto side = options_.image_size;
    slot.images = at::empty({batch_size_, options_.channels, side, side}, at::kByte);
    if (options_.use_labels) slot.labels = at::empty({batch_size_}, at::kLong);
    slot.missing = batch_size_;
    slot.failure = nullptr;
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      room_.wait(lock, [&] {
        const std::int64_t ahead = batch_ + static_cast<std::int64_t>(ring_.size());
        return stopping_ || next_position_ < first_position_ + ahead * batch_size_;
      });
      if (stopping_) return;
      const std::int64_t position = next_position_++;
      Slot& slot = slot_of((position - first_position_) / batch_size_);
      lock.unlock();
      std::exception_ptr failure;
      try {
        fill(position, slot);
      } catch (...) {
        failure = std::current_exception();
      }
      lock.lock();
      if (failure && (!slot.failure || position < slot.failed_position)) {
        slot.failure = failure;
        slot.failed_position = position;
      }
      if (--slot.missing == 0) filled_.notify_all();
    }
  }

  void fill(std::int64_t position, Slot& slot) {
    Prepared image = reader_.read(order_.index_at(position));
    const bool flip =
        options_.random_flip && uniform(derive_seed(seed_, "flip", static_cast<std::uint64_t>(position))) < 0.5;
    if (flip) mirror(image.pixels, options_.image_size);
    const std::int64_t place = (position - first_position_) % batch_size_;
    std::memcpy(slot.images.data_ptr<std::uint8_t>() + static_cast<std::size_t>(place) * image.pixels.size(),
                image.pixels.data(), image.pixels.size());
    if (options_.use_labels)
      slot.labels.data_ptr<std::int64_t>()[place] = is_dropped(position) ? null_label_ : image.label;
  }

  bool is_dropped(std::int64_t position) const {
    return options_.label_dropout > 0 &&
           uniform(derive_seed(seed_, "label_dropout", static_cast<std::uint64_t>(position))) < options_.label_dropout;
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    room_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

  DataOptions options_;
  std::int64_t batch_size_;
  std::uint64_t seed_;
  std::function<void(const std::string&)> warn_;
  Order order_;
  std::int64_t null_label_;
  Reader reader_;

  std::mutex mutex_;  ///< guards all below
  std::condition_variable room_;
  std::condition_variable filled_;
  std::vector<Slot> ring_;
  std::int64_t first_position_;
  std::int64_t batch_ = 0;  ///< of this process; the one that `next` delivers
  std::int64_t next_position_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

BatchLoader::BatchLoader(std::shared_ptr<const Dataset> dataset, const DataOptions& options, std::int64_t batch_size,
                         std::uint64_t seed, std::int64_t first_position,
                         std::function<void(const std::string&)> warn) {
  check(*dataset, options);
  if (first_position < 0) throw Error(text("the stream of images cannot start at position ", first_position));
  stream_ = std::make_unique<Stream>(std::move(dataset), options, batch_size, seed, first_position, std::move(warn));
}

BatchLoader::~BatchLoader() = default;

ImageBatch BatchLoader::next() { return stream_->next(); }

}  // namespace casdm
