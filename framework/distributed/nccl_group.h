#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Stream.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "framework/device/device.h"
#include "framework/distributed/nccl.h"
#include "framework/distributed/process_group.h"

namespace casdm {

/// Exchanges tensors on GPUs, without the CPU's memory: each process has one GPU. All processes must call the same
/// functions in the same order. They throw std::exception if NCCL refuses; the constructor and `finish`, which
/// wait, also if an exchange has failed, `patience` is exceeded or `look` throws.
class NcclGroup {
 public:
  struct Waiting {
    std::chrono::milliseconds patience;
    std::function<void()> look;  ///< called now and then; throws if it is no use to wait any longer
  };

  /// Connects the processes.
  /// @param nccl   must outlive the process's other work, since a connection that fails is left to a thread
  /// @param store  through which they find each other
  NcclGroup(const Nccl& nccl, c10d::Store& store, int rank, int size, c10::Device device, DeviceStreams streams,
            Waiting waiting);
  ~NcclGroup();
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  /// See World. All but `finish` only queue.
  void sum(const at::Tensor& tensor) const;
  void begin_sum(const at::Tensor& tensor) const;
  void end_sums() const;
  void exchange(const at::Tensor& flat, const std::vector<FlatRange>& ranges) const;
  void finish(const std::function<bool()>& is_done = {}) const;

  /// Whether all that is queued is done within `limit`, whatever has become of the other processes.
  bool comes_to_rest(std::chrono::milliseconds limit) const;

 private:
  void wait_for(const std::function<bool()>& is_done, const char* what) const;

  const Nccl& nccl_;
  c10::Device device_;
  DeviceStreams streams_;
  Waiting waiting_;
  Nccl::Group group_ = nullptr;
  std::optional<c10::Stream> aside_;  ///< for what is exchanged while the device computes; none on the CPU
};

/// The NCCL that LibTorch's CUDA libraries have loaded. Throws Error if there is none.
const Nccl& loaded_nccl();

/// Why tensors on `device` cannot be exchanged by NCCL; empty: they can. CASDM_NCCL=0 in the environment is a reason,
/// too.
std::string why_no_nccl(c10::Device device);

}  // namespace casdm
