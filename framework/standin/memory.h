#pragma once

#include <c10/core/Allocator.h>
#include <c10/core/Storage.h>

#include <cstdint>

namespace casdm::standin {

inline const c10::Device kStandIn(c10::kCUDA, 0);

/// What the bytes of values that are not there yet are set to: of floats that are not numbers, of impossible indices.
inline constexpr int kNothing = 0xFF;

/// Allocates the device's memory.
c10::Allocator* device_allocator();

/// Allocates host memory from which copies to the device need not wait.
c10::Allocator* pinned_allocator();
bool is_pinned(const void* data);

/// While this object lives, this thread computes on the device: it may access the device's memory, and its CPU
/// allocations become the device's.
class DeviceCode {
 public:
  DeviceCode();
  ~DeviceCode();
  DeviceCode(const DeviceCode&) = delete;
  DeviceCode& operator=(const DeviceCode&) = delete;
};

/// A storage on `device` that shares and keeps alive the memory of `storage`; it can be resized by that device's
/// allocator.
c10::Storage same_memory(const c10::Storage& storage, c10::Device device);

/// The maximum number of bytes allocated at any time.
std::int64_t peak_device_memory();

}  // namespace casdm::standin
