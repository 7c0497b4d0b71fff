#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <vector>

#include "framework/distributed/world.h"
#include "framework/training/module_state.h"

namespace casdm {

/// Sums the gradients of all modules over the processes, in part while the backward pass still computes others (Li et
/// al. 2020, "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", section 3.2.3).
///
/// The flat gradients are exchanged in slices: those of the last module first, of each module from its end, which is
/// roughly the order in which a backward pass computes them. The sum of a slice begins when each of its parameters has
/// a gradient and the sums of all slices before it have begun, so the order is the same in all processes, whatever the
/// order of their gradients. A slice that is not complete by the end of the pass is exchanged then, with those after
/// it.
class GradientExchange {
 public:
  /// Large enough for a network's bandwidth, small enough that several follow one another during a backward pass; the
  /// size of DistributedDataParallel's buckets.
  static constexpr std::int64_t kSliceBytes = 25 << 20;

  /// Keeps references to `modules` and `world`. Where sums would have to wait for the device, nothing is exchanged
  /// during the backward pass, and a slice is a module. A world of one process costs nothing.
  /// @param slice_bytes  a slice is not longer, unless it is a single parameter
  GradientExchange(std::vector<ModuleState>& modules, World& world, std::int64_t slice_bytes = kSliceBytes);
  ~GradientExchange();
  GradientExchange(const GradientExchange&) = delete;
  GradientExchange& operator=(const GradientExchange&) = delete;

  /// Runs the last backward pass of a step, and begins sums meanwhile; nothing else may use the gradients until `end`.
  /// Rethrows what `backward` throws, and throws ProcessLost.
  void during(const std::function<void()>& backward);

  /// Begins the sums that have not begun.
  void begin_rest();

  /// Ends them: now the gradients of every module that is trained are the sums.
  void end();

  /// Whether a parameter of the module got another gradient in this process after its sum had begun: a backward pass
  /// can contain others, and each of them adds its part.
  bool has_late(std::size_t module) const { return late_[module].defined(); }

  /// Adds the sum of these gradients, after `end`; all processes must call it if `has_late` is true in any of them.
  void add_late(std::size_t module);

 private:
  class Hook;

  struct Slice {
    std::size_t module = 0;
    ParameterRange range;
    Tensor gradients;              ///< a view into the flat ones
    std::vector<bool> is_found{};  ///< by parameter: whether it has a gradient of this pass
    std::size_t missing = 0;       ///< parameters without
  };

  void find(Slice& slice, std::size_t parameter);
  void open();
  void close();

  std::vector<ModuleState>& modules_;
  World& world_;
  std::vector<Slice> slices_;
  std::vector<Tensor> watched_;  ///< parameters
  std::vector<Tensor> late_;     ///< by module; undefined: none
  std::size_t begun_ = 0;        ///< slices whose sums have begun
  bool is_open_ = false;
  std::exception_ptr failure_;  ///< of an exchange during the backward pass
};

}  // namespace casdm
