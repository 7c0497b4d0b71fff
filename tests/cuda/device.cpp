#include "cuda/device.h"

#include <cstdlib>
#include <iostream>

#include "casdm/error.h"

namespace casdm::testing {

namespace {

/// Must run before anything else computes: LibTorch's CUDA must be loaded before its first convolution on the CPU.
const c10::Device selected = [] {
  constexpr int kSkipped = 77;
  RunOptions run;
  run.device = "cuda";
  try {
    const SelectedDevice device = select_device(run);
    std::cerr << "on " << device.description << '\n';
    return device.device;
  } catch (const Error& error) {
    std::cerr << "skipped: " << error.what() << std::endl;
    std::_Exit(kSkipped);
  }
}();

}  // namespace

c10::Device cuda() { return selected; }

std::shared_ptr<void> guarded_memory() { return nullptr; }

}  // namespace casdm::testing
