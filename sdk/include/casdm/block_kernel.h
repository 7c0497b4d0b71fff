#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

#include "casdm/api.h"

/// Kernels of a GPU that are written as source text and compiled at their first use, so that neither building nor using
/// casdm needs a CUDA toolkit.
namespace casdm CASDM_API {

using at::Tensor;

/// A kernel whose threads work in blocks with memory in common:
///
///     template <int kPhase> void sums(const Block& b) {
///       if constexpr (kPhase == 0) b.shared[b.thread] = b.input<float>(0)[b.index * b.threads + b.thread];
///       if constexpr (kPhase == 1) { ... }
///     }
///
/// A phase begins when all threads of its block have ended the one before; what a thread keeps from phase to phase lies
/// in `shared`. So the same text can run as loops over threads on a CPU.
///
/// Beside what block_prelude.inc declares the source may use the mathematical functions of CUDA that C++ has as well.
struct BlockKernel {
  std::string name;    ///< of the function template; kernels of one name have one source
  std::string source;  ///< CUDA C++ without includes
  int phases = 1;
};

/// One run of a kernel.
struct BlockLaunch {
  std::vector<Tensor> tensors;        ///< on one device, at most 16; what is undefined is null for the kernel
  std::vector<std::int64_t> numbers;  ///< that fit in int32, at most 16
  std::int64_t blocks = 0;
  std::int64_t threads = 0;  ///< of a block, 1 to 1024
  std::int64_t shared = 0;   ///< floats in common, at most 8192
};

/// Whether `device` takes such kernels; where not, use tensor operations.
bool takes_block_kernels(c10::Device device);

/// Queues `kernel`, which writes to its tensors, on the device that they lie on. It is compiled at the first call in
/// this process. Throws Error where the device takes none, or a limit is passed.
void launch(const BlockKernel& kernel, const BlockLaunch& launch);

/// How a type of device runs a BlockKernel. Set by the host once it has chosen the device.
using BlockLauncher = void (*)(const BlockKernel&, const BlockLaunch&);
void set_block_launcher(c10::DeviceType type, BlockLauncher launcher);

/// What comes before a kernel's source: struct Block, and numbers as they lie in memory.
extern const char* const kBlockPrelude;

}  // namespace casdm
