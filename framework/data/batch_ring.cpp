#include "framework/data/batch_ring.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace casdm {

namespace {

constexpr std::chrono::milliseconds kPatience(100);

/// The address of image `row` of a batch in `tensor`.
std::uint8_t* bytes_at(const at::Tensor& tensor, std::int64_t row) {
  return static_cast<std::uint8_t*>(tensor.data_ptr()) + row * tensor.stride(0) * tensor.element_size();
}

}  // namespace

BatchRing::BatchRing(const DataOptions& options, std::int64_t batch_size, std::int64_t first_position,
                     ImageContent content)
    : options_(options),
      content_(std::move(content)),
      batch_size_(batch_size),
      origin_(first_position),
      first_(first_position),
      next_(first_position) {
  // Enough for every thread to work on an image while a whole batch waits.
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
  Place result{position,
               bytes_at(slot.images, place),
               options_.use_labels ? slot.labels.data_ptr<std::int64_t>() + place : nullptr,
               {}};
  for (const at::Tensor& extra : slot.extras) result.extras.push_back(bytes_at(extra, place));
  return result;
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

bool BatchRing::wait(const std::function<bool()>& is_cancelled) {
  std::unique_lock lock(mutex_);
  while (!is_cancelled()) {
    if (complete_.wait_for(lock, kPatience, [&] { return slot_of(first_).missing == 0; })) return true;
  }
  return false;
}

ImageBatch BatchRing::take() {
  const std::lock_guard lock(mutex_);
  Slot& slot = slot_of(first_);
  if (slot.failure) std::rethrow_exception(slot.failure);
  ImageBatch batch{slot.images, slot.labels, first_};
  for (std::size_t i = 0; i < content_.extras.size(); ++i) batch.extras[content_.extras[i].name] = slot.extras[i];
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
  const at::ScalarType type = content_.is_floating_point ? at::kFloat : at::kByte;
  slot.images = at::empty({batch_size_, options_.channels, side, side}, type);
  slot.extras.clear();
  for (const ExtraInfo& extra : content_.extras) {
    std::vector<std::int64_t> shape{batch_size_};
    shape.insert(shape.end(), extra.shape.begin(), extra.shape.end());
    slot.extras.push_back(at::empty(shape, extra.is_integer ? at::kLong : at::kFloat));
  }
  if (options_.use_labels) slot.labels = at::empty({batch_size_}, at::kLong);
  slot.missing = batch_size_;
  slot.failure = nullptr;
}

}  // namespace casdm
