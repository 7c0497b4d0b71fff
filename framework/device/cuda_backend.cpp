#include "framework/device/cuda_backend.h"

#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>

#include <string>

namespace {

int device_count() { return c10::cuda::device_count(); }

const char* device_name(int index) {
  static std::string name;
  cudaDeviceProp properties{};
  C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, index));
  name = properties.name;
  return name.c_str();
}

std::int64_t peak_memory(int index) {
  using c10::CachingAllocator::StatType;
  const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(static_cast<c10::DeviceIndex>(index));
  return stats.allocated_bytes[static_cast<std::size_t>(StatType::AGGREGATE)].peak;
}

void synchronize() { c10::cuda::device_synchronize(); }

}  // namespace

extern "C" __attribute__((visibility("default"))) const casdm_cuda_backend* casdm_cuda_backend_entry() {
  static const casdm_cuda_backend backend = {sizeof(casdm_cuda_backend), device_count, device_name, peak_memory,
                                             synchronize};
  return &backend;
}
