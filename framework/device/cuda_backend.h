#pragma once

#include <cstdint>

extern "C" {

/// What the backend library offers; C types only, so that the framework links no CUDA library.
struct casdm_cuda_backend {
  std::uint32_t size;                      ///< sizeof(casdm_cuda_backend)
  int (*device_count)();                   ///< usable devices; 0 without a driver
  const char* (*device_name)(int index);   ///< valid until the next call
  std::int64_t (*peak_memory)(int index);  ///< most bytes the allocator held, since the start
  void (*synchronize)();
};

/// The one symbol of libcasdm_cuda.so.
const casdm_cuda_backend* casdm_cuda_backend_entry();
}
