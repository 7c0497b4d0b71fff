#include <doctest/doctest.h>

#include "cuda/device.h"
#include "framework/standin/standin.h"

namespace casdm::testing {

namespace {

const c10::Device selected = [] {
  use_cuda_backend(standin::cuda_standin());
  RunOptions run;
  run.device = "cuda";
  return select_device(run).device;
}();

}  // namespace

c10::Device cuda() { return selected; }

std::shared_ptr<void> guarded_memory() { return std::make_shared<standin::GuardedDeviceMemory>(); }

}  // namespace casdm::testing
