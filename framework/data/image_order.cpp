#include "framework/data/image_order.h"

#include "casdm/random.h"

namespace casdm {

std::int64_t ImageOrder::index_at(std::int64_t position) {
  const Permutation order = epoch(position / size_);
  return (*order)[static_cast<std::size_t>(position % size_)];
}

ImageOrder::Permutation ImageOrder::epoch(std::int64_t number) {
  const std::lock_guard lock(mutex_);
  Permutation& order = epochs_[number];
  if (!order) {
    order = std::make_shared<std::vector<std::int64_t>>(
        permutation(size_, derive_seed(seed_, "order", static_cast<std::uint64_t>(number))));
  }
  const Permutation result = order;
  while (epochs_.size() > kKept) epochs_.erase(epochs_.begin());
  return result;
}

}  // namespace casdm
