#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "framework/distributed/world.h"

namespace c10d {
class Store;
}

namespace casdm {

/// How the processes of a run exchange CPU tensors: LibTorch's Gloo. All processes must call the same functions in the
/// same order. They throw std::exception if a connection breaks or `patience` is exceeded.
class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;

  /// Sums in place, with the same bits in every process.
  virtual void sum(at::Tensor tensor) = 0;
  /// The same on a thread of the group, until `end_sums`.
  virtual void begin_sum(at::Tensor tensor) = 0;
  virtual void end_sums() = 0;
  /// Stacks tensors of equal shape as rows: [size, ...].
  virtual at::Tensor gather(at::Tensor own) = 0;
  virtual void broadcast(at::Tensor tensor) = 0;  ///< from rank 0, in place
  virtual void send_to_first(at::Tensor tensor) = 0;
  virtual void receive(at::Tensor tensor, int from) = 0;
  /// In place: each range from the rank that it belongs to.
  virtual void exchange(const at::Tensor& flat, const std::vector<FlatRange>& ranges) = 0;
};

/// Connects every process to every other; all must call it.
/// @param address  where the others can reach this machine; empty, or GLOO_SOCKET_IFNAME in the environment: Gloo's
///                 choice
std::unique_ptr<ProcessGroup> connect(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                      const std::string& address, std::chrono::milliseconds patience);

}  // namespace casdm
