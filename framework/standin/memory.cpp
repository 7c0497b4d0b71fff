#include "framework/standin/memory.h"

#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "framework/standin/counts.h"
#include "framework/standin/standin.h"

namespace casdm::standin {

namespace {

constexpr std::size_t kReserved = std::size_t{1} << 38;  // addresses, not memory
constexpr std::size_t kAlignment = 64;                   // the alignment that the CPU's kernels may expect
constexpr std::size_t kPage = std::size_t{1} << 21;      // large ones, since kernels change the protection of all

/// The device's memory: one range of addresses; free blocks are kept by size.
class Arena {
 public:
  void* allocate(std::size_t bytes) {
    if (bytes == 0) return nullptr;
    const std::size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    const std::lock_guard lock(mutex_);
    Block block{nullptr, size, size};
    // What is used stays small, since all of it is protected anew for each operator.
    const auto fitting = free_.lower_bound(size);
    if (fitting != free_.end() && fitting->first <= 2 * size) {
      block = {fitting->second, fitting->first, size};
      free_.erase(fitting);
    } else {
      if (size > kReserved - used_) throw std::bad_alloc();
      block.data = base_ + used_;
      used_ += size;
    }
    blocks_[block.data] = block;
    live_ += size;
    peak_ = std::max(peak_, live_);
    return block.data;
  }

  bool has(const void* data) const { return data >= base_ && data < base_ + kReserved; }

  void free(void* data) {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(static_cast<char*>(data));
    const Block block = found->second;
    live_ -= block.size;
    free_.emplace(block.capacity, block.data);
    blocks_.erase(found);
    if (!blocks_.empty()) return;
    free_.clear();
    used_ = 0;
  }

  std::size_t peak() {
    const std::lock_guard lock(mutex_);
    return peak_;
  }

  void enter() {
    change([this] { return users_++ == 0; }, PROT_READ | PROT_WRITE);
  }
  void leave() {
    change([this] { return --users_ == 0; }, PROT_NONE);
  }

  void guard(bool is_guarded) {
    const std::lock_guard lock(mutex_);
    is_guarded_ = is_guarded;
    protect(is_guarded && users_ == 0 ? PROT_NONE : PROT_READ | PROT_WRITE);
  }

 private:
  struct Block {
    char* data;
    std::size_t capacity, size;
  };

  template <class Change>
  void change(const Change& changes, int protection) {
    const std::lock_guard lock(mutex_);
    if (changes() && is_guarded_) protect(protection);
  }

  void protect(int protection) {
    if (::mprotect(base_, (used_ + kPage - 1) / kPage * kPage, protection) != 0) throw std::bad_alloc();
  }

  static char* reserve() {
    void* memory =
        ::mmap(nullptr, kReserved + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    std::size_t space = kReserved + kPage;
    void* base = std::align(kPage, kReserved, memory, space);
    ::madvise(base, kReserved, MADV_HUGEPAGE);
    return static_cast<char*>(base);
  }

  std::mutex mutex_;
  char* base_ = reserve();
  std::size_t used_ = 0, live_ = 0, peak_ = 0;
  int users_ = 0;
  bool is_guarded_ = false;
  std::multimap<std::size_t, char*> free_;
  std::map<const void*, Block> blocks_;
};

/// Never destroyed: tensors in static variables outlive everything.
Arena& arena() {
  static auto& only = *new Arena;
  return only;
}

thread_local int t_device_code = 0;

class DeviceAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    count_allocation();
    void* data = arena().allocate(bytes);
    return {data, data, raw_deleter(), kStandIn};
  }
  c10::DeleterFnPtr raw_deleter() const override {
    return [](void* data) {
      if (data != nullptr) arena().free(data);
    };
  }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    const DeviceCode code;
    std::memcpy(to, from, bytes);
  }
};

/// The CPU's allocator, except that a kernel of the device allocates in the device's memory.
class HostAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    void* data = t_device_code > 0 ? arena().allocate(bytes) : original_->raw_allocate(bytes);
    return {data, data, raw_deleter(), c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }

 private:
  static void release(void* data) { arena().has(data) ? arena().free(data) : original_->raw_deallocate(data); }
  static inline c10::Allocator* original_ = c10::GetDefaultCPUAllocator();
};

class PinnedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    auto* data = new char[bytes + 1];  // a distinct block even if it is empty
    const std::lock_guard lock(mutex_);
    ends_[data] = data + bytes + 1;
    return {data, data, raw_deleter(), c10::Device(c10::kCPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }

  static bool has(const void* data) {
    const std::lock_guard lock(mutex_);
    const auto after = ends_.upper_bound(static_cast<const char*>(data));
    return after != ends_.begin() && data < std::prev(after)->second;
  }

 private:
  static void release(void* data) {
    const std::lock_guard lock(mutex_);
    ends_.erase(static_cast<char*>(data));
    delete[] static_cast<char*>(data);
  }
  static inline std::mutex mutex_;
  static inline auto& ends_ = *new std::map<const char*, const char*>;
};

}  // namespace

c10::Allocator* device_allocator() {
  static DeviceAllocator allocator;
  return &allocator;
}

c10::Allocator* pinned_allocator() {
  static PinnedAllocator allocator;
  return &allocator;
}

bool is_pinned(const void* data) { return PinnedAllocator::has(data); }

DeviceCode::DeviceCode() {
  if (t_device_code++ == 0) arena().enter();
}

DeviceCode::~DeviceCode() {
  if (--t_device_code == 0) arena().leave();
}

c10::Storage same_memory(const c10::Storage& storage, c10::Device device) {
  const auto forget = [](void* kept) { delete static_cast<c10::Storage*>(kept); };
  c10::DataPtr data(const_cast<void*>(storage.data()), new c10::Storage(storage), forget, device);
  return {c10::Storage::use_byte_size_t(), storage.nbytes(), std::move(data),
          device.is_cpu() ? c10::GetAllocator(c10::kCPU) : device_allocator(), /*resizable=*/true};
}

std::int64_t peak_device_memory() { return static_cast<std::int64_t>(arena().peak()); }

GuardedDeviceMemory::GuardedDeviceMemory() { arena().guard(true); }
GuardedDeviceMemory::~GuardedDeviceMemory() { arena().guard(false); }

namespace {

const bool is_registered = [] {
  constexpr std::uint8_t kBeforeAllOthers = 255;
  c10::SetAllocator(c10::kCUDA, device_allocator());
  c10::SetCPUAllocator(new HostAllocator, kBeforeAllOthers);
  return true;
}();

}  // namespace

}  // namespace casdm::standin
