#pragma once

#include <cstdint>

#include "casdm/block_kernel.h"
#include "casdm/on_device.h"
#include "framework/device/device_graph.h"

extern "C" {

/// A CUDA device, as far as users need to know about it.
struct casdm_cuda_device {
  char name[256];
  int major, minor;          ///< compute capability
  unsigned char uuid[16];    ///< all zero: it has none
  std::int64_t memory;       ///< bytes
  int driver;                ///< CUDA version of the driver, 1000 major + 10 minor
  std::int64_t peak_memory;  ///< maximum number of bytes that tensors of this process used at any time
};

/// CUDA versions, 1000 major + 10 minor.
struct casdm_cuda_versions {
  int driver;     ///< the newest that the driver serves; 0: there is none
  int libraries;  ///< of the libraries that LibTorch comes with
};

/// The functions of the backend library; through them the framework uses CUDA without linking it.
struct casdm_cuda_backend {
  std::uint32_t size;     ///< sizeof(casdm_cuda_backend)
  int (*device_count)();  ///< usable devices; 0 without a driver
  casdm_cuda_device (*device)(int index);
  casdm::ElementLauncher launcher;
  casdm::BlockLauncher block_launcher;
  casdm::GraphRecorder graph_recorder;
  void* (*current_stream)(int index);  ///< of a device; this and the next are null if it is not a device of NCCL
  bool (*is_idle)(int index);          ///< whether the current stream of a device has done all that was queued
  casdm_cuda_versions (*versions)();
};

/// The only symbol of libcasdm_cuda.so.
const casdm_cuda_backend* casdm_cuda_backend_entry();
}

namespace casdm {

/// From now on select_device offers the devices of `backend`, which has registered itself with LibTorch, and does not
/// load a CUDA library: for a device that imitates CUDA. Call it before anything else computes.
void use_cuda_backend(const casdm_cuda_backend& backend);

}  // namespace casdm
