#include "framework/data/batch_ring.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace casdm {

BatchRing::BatchRing(const DataOptions& options, std::int64_t batch_size, std::int64_t first_position)
    : options_(options),
      batch_size_(batch_size),
      origin_(first_position),
      first_(first_position),
      next_(first_position) {
  // Enough for every thread to have an image in hand while a whole batch waits.
  const std::int64_t ahead = 1 + (options.workers + batch_size - 1) / batch_size;
  slots_.resize(static_cast<std::size_t>(std::max<std::int64_t>(ahead, 2)));
  for (Slot& slot : slots_) reset(slot);
}

std::optional<BatchRing::Place> BatchRing::claim() {
  std::unique_lock lock(mutex_);
  const std::int64_t window = static_cast<std::int64_t>(slots_.size()) * batch_size_;
  room_.wait(lock, [&] { return is_stopped_ || next_ < first_ + window; });
  if (is_stopped_) return std::nullopt;
  const std::int64_t position = next_++;
  Slot& slot = slot_of(position);
  const std::int64_t place = (position - origin_) % batch_size_;
  return Place{position, slot.images.data_ptr<std::uint8_t>() + place * slot.images.stride(0),
               options_.use_labels ? slot.labels.data_ptr<std::int64_t>() + place : nullptr};
}

void BatchRing::settle(std::int64_t position, std::exception_ptr failure) {
  const std::lock_guard lock(mutex_);
  Slot& slot = slot_of(position);
  if (failure && (!slot.failure || position < slot.failed_position)) {
    slot.failure = std::move(failure);
    slot.failed_position = position;
  }
  if (--slot.missing == 0) complete_.notify_all();
}

void BatchRing::wait() {
  std::unique_lock lock(mutex_);
  complete_.wait(lock, [&] { return slot_of(first_).missing == 0; });
}

ImageBatch BatchRing::take() {
  const std::lock_guard lock(mutex_);
  Slot& slot = slot_of(first_);
  if (slot.failure) std::rethrow_exception(slot.failure);
  ImageBatch batch{slot.images, slot.labels, first_};
  reset(slot);
  first_ += batch_size_;
  room_.notify_all();
  return batch;
}

void BatchRing::stop() {
  const std::lock_guard lock(mutex_);
  is_stopped_ = true;
  room_.notify_all();
}

BatchRing::Slot& BatchRing::slot_of(std::int64_t position) {
  return slots_[static_cast<std::size_t>((position - origin_) / batch_size_) % slots_.size()];
}

void BatchRing::reset(Slot& slot) {
  const std::int64_t side = options_.image_size;
  slot.images = at::empty({batch_size_, options_.channels, side, side}, at::kByte);
  if (options_.use_labels) slot.labels = at::empty({batch_size_}, at::kLong);
  slot.missing = batch_size_;
  slot.failure = nullptr;
}

}  // namespace casdm
