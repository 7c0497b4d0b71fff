#include "framework/standin/late_copies.h"

#include <ATen/ATen.h>

#include <cstring>
#include <deque>
#include <mutex>

#include "framework/standin/memory.h"
#include "framework/standin/on_host.h"

namespace casdm::standin {

namespace {

struct LateCopy {
  at::Tensor to, values;
};

/// Never destroyed, like the device's memory.
struct Queue {
  std::mutex mutex;
  std::int64_t made = 0;
  std::deque<LateCopy> waiting;
};

Queue& queue() {
  static auto& only = *new Queue;
  return only;
}

}  // namespace

void queue_copy(const at::Tensor& to, const at::Tensor& values) {
  const DeviceCode code;
  const KernelsOnly kernels;
  if (to.is_contiguous()) std::memset(to.mutable_data_ptr(), kNothing, to.nbytes());
  const std::lock_guard lock(queue().mutex);
  queue().waiting.push_back({to, values.clone()});
}

std::int64_t queued_copies() {
  const std::lock_guard lock(queue().mutex);
  return queue().made + static_cast<std::int64_t>(queue().waiting.size());
}

void make_copies(std::int64_t count) {
  const std::lock_guard lock(queue().mutex);
  if (queue().made >= count || queue().waiting.empty()) return;
  const DeviceCode code;
  const KernelsOnly kernels;
  for (; queue().made < count && !queue().waiting.empty(); ++queue().made) {
    const LateCopy& first = queue().waiting.front();
    at::Tensor(first.to).copy_(first.values);
    queue().waiting.pop_front();
  }
}

}  // namespace casdm::standin
