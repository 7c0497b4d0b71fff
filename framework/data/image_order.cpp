#include "framework/data/image_order.h"

#include <new>
#include <stdexcept>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/text.h"

namespace casdm {

std::int64_t ImageOrder::index_at(std::int64_t position) {
  const Permutation order = epoch(position / size_);
  return (*order)[static_cast<std::size_t>(position % size_)];
}

ImageOrder::Permutation ImageOrder::epoch(std::int64_t number) {
  const std::lock_guard lock(mutex_);
  Permutation& order = epochs_[number];
  if (!order) order = shuffled(number);
  const Permutation result = order;
  while (epochs_.size() > kKept) epochs_.erase(epochs_.begin());
  return result;
}

ImageOrder::Permutation ImageOrder::shuffled(std::int64_t epoch) const {
  const std::uint64_t seed = derive_seed(seed_, "order", static_cast<std::uint64_t>(epoch));
  try {
    return std::make_shared<std::vector<std::int64_t>>(permutation(size_, seed));
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {  // larger than any memory
  }
  throw Error(text("there is not enough memory for the order of ", size_, " images, which takes 8 bytes for each"));
}

}  // namespace casdm
