#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <memory>
#include <string>

namespace c10d {
class Store;
}

namespace casdm {

/// Where the processes of a run exchange tensors of the CPU: LibTorch's Gloo. All functions are called by all of them
/// in the same order. They throw std::exception when a connection breaks or `patience` is over.
class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;

  /// In place, with the same bits in every process.
  virtual void sum(at::Tensor tensor) = 0;
  /// Of tensors of one shape, as rows: [size, ...].
  virtual at::Tensor gather(at::Tensor own) = 0;
  virtual void broadcast(at::Tensor tensor) = 0;  ///< from rank 0, in place
};

/// Connects each process to each other; all call it.
/// @param address  of this machine, to be reached at; empty, or GLOO_SOCKET_IFNAME in the environment: Gloo's choice
std::unique_ptr<ProcessGroup> connect(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                      const std::string& address, std::chrono::milliseconds patience);

}  // namespace casdm
