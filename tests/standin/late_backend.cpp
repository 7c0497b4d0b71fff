#include "framework/standin/standin.h"

/// What the CUDA library of a build with CUDA has, with the stand-in's device.
extern "C" __attribute__((visibility("default"))) const casdm_cuda_backend* casdm_cuda_backend_entry() {
  return &casdm::standin::cuda_standin();
}
