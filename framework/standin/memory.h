#pragma once

#include <c10/core/Allocator.h>
#include <c10/core/Storage.h>

#include <cstdint>

namespace casdm::standin {

inline const c10::Device kStandIn(c10::kCUDA, 0);

/// Allocates the device's memory.
c10::Allocator* device_allocator();

/// Allocates memory of the host that copies to the device need not wait for.
c10::Allocator* pinned_allocator();
bool is_pinned(const void* data);

/// While it lives, this thread computes on the device: its memory may be touched, and what is allocated for the CPU on
/// this thread becomes the device's.
class DeviceCode {
 public:
  DeviceCode();
  ~DeviceCode();
  DeviceCode(const DeviceCode&) = delete;
  DeviceCode& operator=(const DeviceCode&) = delete;
};

/// The memory of `storage`, which keeps it, as that of `device`; it can be resized by that device's allocator.
c10::Storage same_memory(const c10::Storage& storage, c10::Device device);

/// The most bytes that were allocated at a time.
std::int64_t peak_device_memory();

}  // namespace casdm::standin
