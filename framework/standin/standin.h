#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "framework/device/cuda_backend.h"

/// A stand-in for a CUDA device, for machines without one. It takes the place of libtorch_cuda: tensors on cuda:0 are
/// in host memory, and operators that have CUDA kernels in LibTorch compute on the CPU, one after another. It refuses
/// what a CUDA device refuses: tensors on several devices in one operator, generators of another device, operators
/// without a CUDA kernel and, with `run.deterministic`, those without a deterministic one. Each process has a device of
/// its own.
///
/// It shows where the host waits for the device and how many operations it launches, and finds code that works only on
/// the CPU. Factors of products have 10 bits of mantissa where TF32 is allowed. It shows nothing about speed, the order
/// of sums in cuBLAS and cuDNN, or races between streams.
///
/// A program linked to this library has the device from the start; `casdm plugins check --device stand-in` loads it.
namespace casdm::standin {

/// The use of the device. An operator counts once, however many kernels a GPU would launch for it; views and
/// allocations do not count.
struct DeviceUse {
  std::int64_t launches = 0;      ///< operators and element functions
  std::int64_t waits = 0;         ///< of the host: for copies, numbers, sizes that depend on values, streams, events
  std::int64_t waited_bytes = 0;  ///< bytes in those copies
  std::int64_t queued = 0;        ///< launches behind what was waited for: in a wait, the device is busy with them
  std::int64_t items = 0;         ///< numbers read by `item()`, which also count as waits
  std::int64_t free_copies = 0;   ///< to or from pinned memory, which do not wait
  std::int64_t copies_aside = 0;  ///< those on another stream than the default one
  std::int64_t allocations = 0;
  std::map<std::string, std::int64_t> operators;  ///< launches by name: "aten::add.Tensor"
  std::map<std::string, std::int64_t> parts;      ///< launches by component; "host", "backward pass" beside these
  std::map<std::string, std::int64_t> reasons;    ///< waits by cause: "copy to the device in 'NAME'"
};

/// Since the program was started.
DeviceUse device_use();

/// The use between two calls of device_use().
DeviceUse operator-(const DeviceUse& after, const DeviceUse& before);

/// "3 waits: 2 x copy to the device in 'NAME', 1 x number in ..."
std::string describe_waits(const DeviceUse& use);

/// While this object lives, code outside the device's kernels that accesses the device's memory dies with SIGSEGV.
class GuardedDeviceMemory {
 public:
  GuardedDeviceMemory();
  ~GuardedDeviceMemory();
  GuardedDeviceMemory(const GuardedDeviceMemory&) = delete;
  GuardedDeviceMemory& operator=(const GuardedDeviceMemory&) = delete;
};

/// The argument for use_cuda_backend of framework/device/device.h.
const casdm_cuda_backend& cuda_standin();

/// What casdm_standin_entry returns to a program that loads the library.
struct Entry {
  const casdm_cuda_backend* backend;
  /// Where the host waits for the device in `work`, in the format of describe_waits; empty: nowhere.
  std::string (*waits_in)(const std::function<void()>& work);
};

}  // namespace casdm::standin

extern "C" const casdm::standin::Entry* casdm_standin_entry();
