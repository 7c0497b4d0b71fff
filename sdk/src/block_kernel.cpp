#include "casdm/block_kernel.h"

#include <atomic>
#include <limits>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

constexpr std::size_t kMostArguments = 16;
constexpr std::int64_t kMostThreads = 1024, kMostShared = 8192;

/// Of the accelerator; a process has at most one type.
std::atomic<BlockLauncher> block_launcher = nullptr;
std::atomic<c10::DeviceType> type_with_blocks = c10::kCPU;

bool is_int(std::int64_t number) {
  using Limits = std::numeric_limits<std::int32_t>;
  return number >= Limits::min() && number <= Limits::max();
}

const Tensor& first_of(const BlockKernel& kernel, const BlockLaunch& launch) {
  for (const Tensor& tensor : launch.tensors) {
    if (tensor.defined()) return tensor;
  }
  throw Error(text("the kernel ", kernel.name, " was given no tensor"));
}

}  // namespace

const char* const kBlockPrelude =
#include "block_prelude.inc"
    ;

bool takes_block_kernels(c10::Device device) { return block_launcher != nullptr && device.type() == type_with_blocks; }

void launch(const BlockKernel& kernel, const BlockLaunch& launch) {
  const c10::Device device = first_of(kernel, launch).device();
  if (!takes_block_kernels(device)) throw Error(text("the kernel ", kernel.name, " cannot run on ", device.str()));
  for (const Tensor& tensor : launch.tensors) {
    if (!tensor.defined() || tensor.device() == device) continue;
    throw Error(text("the kernel ", kernel.name, " takes tensors on one device, got ", device.str(), " and ",
                     tensor.device().str()));
  }
  bool fits = launch.tensors.size() <= kMostArguments && launch.numbers.size() <= kMostArguments &&
              is_int(launch.blocks) && launch.blocks >= 0 && launch.threads >= 1 && launch.threads <= kMostThreads &&
              launch.shared >= 0 && launch.shared <= kMostShared;
  for (const std::int64_t number : launch.numbers) fits = fits && is_int(number);
  if (!fits) {
    throw Error(text("the kernel ", kernel.name, " was given ", launch.tensors.size(), " tensors, ",
                     launch.numbers.size(), " numbers, ", launch.blocks, " blocks of ", launch.threads, " threads and ",
                     launch.shared, " floats in common: one of them is beyond what casdm/block_kernel.h allows"));
  }
  if (launch.blocks > 0) block_launcher.load()(kernel, launch);
}

void set_block_launcher(c10::DeviceType type, BlockLauncher launcher) {
  type_with_blocks = type;
  block_launcher = launcher;
}

}  // namespace casdm
