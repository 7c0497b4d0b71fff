#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "framework/device/cuda_backend.h"

/// A stand-in for a CUDA device, for machines without one. It takes the place of libtorch_cuda: tensors on cuda:0 lie
/// in memory of the host, and the operators that have CUDA kernels in LibTorch compute on the CPU, one after another.
/// What a CUDA device refuses is refused: tensors of several devices in one operator, generators of another device,
/// operators without a CUDA kernel, and with `run.deterministic` those without a deterministic one.
///
/// It shows where the host waits for the device and how much it asks of it, and finds code that works on the CPU alone.
/// It says nothing about speed, about the rounding of cuBLAS and cuDNN, and about races between streams.
///
/// A program that links this library has the device from its start; `casdm plugins check --device stand-in` loads it.
namespace casdm::standin {

/// What was asked of the device. An operator counts once, however many kernels a GPU would launch for it; views and
/// allocations do not count.
struct DeviceUse {
  std::int64_t launches = 0;      ///< operators and element functions
  std::int64_t waits = 0;         ///< of the host: for copies, numbers, sizes that depend on values, streams, events
  std::int64_t waited_bytes = 0;  ///< of the copies among them
  std::int64_t items = 0;         ///< numbers read by `item()`, which are waits too
  std::int64_t free_copies = 0;   ///< to or from pinned memory, for which nobody waits
  std::int64_t allocations = 0;
  std::map<std::string, std::int64_t> operators;  ///< launches by name: "aten::add.Tensor"
  std::map<std::string, std::int64_t> reasons;    ///< waits by what was waited for: "copy to the device in 'NAME'"
};

/// Since the program started.
DeviceUse device_use();

/// What was asked between two calls of device_use().
DeviceUse operator-(const DeviceUse& after, const DeviceUse& before);

/// "3 waits: 2 x copy to the device in 'NAME', 1 x number in ..."
std::string describe_waits(const DeviceUse& use);

/// While it lives, code outside of the device's kernels that touches the device's memory ends with SIGSEGV.
class GuardedDeviceMemory {
 public:
  GuardedDeviceMemory();
  ~GuardedDeviceMemory();
  GuardedDeviceMemory(const GuardedDeviceMemory&) = delete;
  GuardedDeviceMemory& operator=(const GuardedDeviceMemory&) = delete;
};

/// For use_cuda_backend of framework/device/device.h.
const casdm_cuda_backend& cuda_standin();

/// What a program that loads the library gets from casdm_standin_entry.
struct Entry {
  const casdm_cuda_backend* backend;
  /// Where the host waits for the device in `work`, as describe_waits has it; empty: nowhere.
  std::string (*waits_in)(const std::function<void()>& work);
};

}  // namespace casdm::standin

extern "C" const casdm::standin::Entry* casdm_standin_entry();
