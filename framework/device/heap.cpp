#include "framework/device/heap.h"

#include <malloc.h>

#include <cstdlib>

namespace casdm {

namespace {

constexpr int kLargestFromHeap = 32 << 20;  ///< bytes; glibc does not allow more
constexpr int kFreeAtTheTop = 1 << 30;

void set(int option, int value, const char* variable) {
  if (std::getenv(variable) == nullptr) ::mallopt(option, value);
}

}  // namespace

void keep_freed_memory() {
  set(M_MMAP_THRESHOLD, kLargestFromHeap, "MALLOC_MMAP_THRESHOLD_");
  set(M_TRIM_THRESHOLD, kFreeAtTheTop, "MALLOC_TRIM_THRESHOLD_");
}

}  // namespace casdm
