#pragma once

#include <cstdint>

#include "casdm/block_kernel.h"
#include "casdm/on_device.h"

extern "C" {

/// A CUDA device, as far as users should know.
struct casdm_cuda_device {
  char name[256];
  int major, minor;          ///< compute capability
  std::int64_t memory;       ///< bytes
  int driver;                ///< CUDA version of the driver, 1000 major + 10 minor
  std::int64_t peak_memory;  ///< most bytes that tensors of this process took at a time
};

/// What the backend library offers, so that the framework links no CUDA library.
struct casdm_cuda_backend {
  std::uint32_t size;     ///< sizeof(casdm_cuda_backend)
  int (*device_count)();  ///< usable devices; 0 without a driver
  casdm_cuda_device (*device)(int index);
  casdm::ElementLauncher launcher;
  casdm::BlockLauncher block_launcher;
};

/// The one symbol of libcasdm_cuda.so.
const casdm_cuda_backend* casdm_cuda_backend_entry();
}

namespace casdm {

/// From now on select_device offers the devices of `backend`, which registered with LibTorch itself, and loads no CUDA
/// library: for a device that stands in for CUDA. Call it before anything else computes.
void use_cuda_backend(const casdm_cuda_backend& backend);

}  // namespace casdm
