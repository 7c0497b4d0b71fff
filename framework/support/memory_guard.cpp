#include "framework/support/memory_guard.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <thread>

#include "framework/support/exception_message.h"
#include "framework/support/memory.h"

namespace casdm {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kLarge = std::size_t{1} << 20;  ///< from here on an allocation is looked at
constexpr std::size_t kLargestFromHeap = std::size_t{32} << 20;
constexpr std::uint64_t kReserve = std::uint64_t{128} << 20;  ///< for everything that is smaller
constexpr std::uint64_t kMuch = 8;                            ///< a larger part of what is free is taken at once
constexpr auto kFresh = std::chrono::milliseconds(250);
constexpr auto kPause = std::chrono::milliseconds(100);
constexpr int kPauses = 10;  ///< until others, which may have taken the memory for a moment, count

/// Takes the pages of new memory now, so that they are not promised to somebody else before they are used.
/// @param bytes  more than a page
void take_pages([[maybe_unused]] void* data, [[maybe_unused]] std::size_t bytes) {
#ifdef MADV_POPULATE_WRITE
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t before = (page - reinterpret_cast<std::uintptr_t>(data) % page) % page;
  ::madvise(static_cast<char*>(data) + before, (bytes - before) / page * page, MADV_POPULATE_WRITE);
#endif
}

/// LibTorch's allocator, which refuses what there is no room for.
class GuardedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    if (bytes < kLarge) return plain_.allocate(bytes);
    const bool is_much = take(bytes);
    c10::DataPtr data = plain_.allocate(bytes);
    if (is_much) take_pages(data.get(), bytes);
    return data;
  }
  c10::DeleterFnPtr raw_deleter() const override { return plain_.raw_deleter(); }
  void copy_data(void* to, const void* from, std::size_t bytes) const override { plain_.copy_data(to, from, bytes); }

 private:
  /// Throws if there is no room. Returns whether the bytes are a large part of what is free.
  bool take(std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    if (Clock::now() - looked_ > kFresh || bytes > left_ / kMuch) look();
    for (int pauses = 0; bytes > left_; ++pauses) {
      // glibc may have memory that was freed and not returned, but takes none of it for larger blocks.
      if (bytes <= kLargestFromHeap && bytes <= ::mallinfo2().fordblks) return false;
      if (pauses == kPauses || bytes > memory_of_machine()) throw_no_memory(bytes, left_);
      std::this_thread::sleep_for(kPause);
      look();
    }
    const bool is_much = bytes > left_ / kMuch;
    left_ -= bytes;
    return is_much;
  }

  void look() {
    const std::uint64_t free = free_memory();
    left_ = free - std::min(free, kReserve);
    looked_ = Clock::now();
  }

  c10::Allocator& plain_ = *c10::GetDefaultCPUAllocator();
  std::mutex mutex_;
  std::uint64_t left_ = 0;  ///< free bytes but those to be kept, less what was taken since the last look
  Clock::time_point looked_;
};

}  // namespace

void refuse_what_memory_lacks() {
  static auto& guarded = *new GuardedAllocator;  // tensors may outlive every static object
  c10::SetCPUAllocator(&guarded, 1);
}

}  // namespace casdm
