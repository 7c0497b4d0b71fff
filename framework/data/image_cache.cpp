#include "framework/data/image_cache.h"

#include <cstring>

namespace casdm {

ImageCache::ImageCache(std::int64_t count, std::size_t image_bytes)
    : image_bytes_(image_bytes),
      pixels_(new std::uint8_t[static_cast<std::size_t>(count) * image_bytes]),
      labels_(static_cast<std::size_t>(count)),
      states_(static_cast<std::size_t>(count)) {}

bool ImageCache::read(std::int64_t index, PreparedImage& image) const {
  const auto i = static_cast<std::size_t>(index);
  if (states_[i].load(std::memory_order_acquire) != State::ready) return false;
  const std::uint8_t* source = pixels_.get() + i * image_bytes_;
  image.pixels.assign(source, source + image_bytes_);
  image.label = labels_[i];
  return true;
}

void ImageCache::write(std::int64_t index, const PreparedImage& image) {
  const auto i = static_cast<std::size_t>(index);
  State expected = State::absent;
  if (!states_[i].compare_exchange_strong(expected, State::writing)) return;
  std::memcpy(pixels_.get() + i * image_bytes_, image.pixels.data(), image_bytes_);
  labels_[i] = image.label;
  states_[i].store(State::ready, std::memory_order_release);
}

}  // namespace casdm
