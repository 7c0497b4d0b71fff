#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "casdm/error.h"
#include "framework/support/attributed_error.h"

namespace casdm {

/// Another process of the run has failed, has disappeared or has not joined.
class ProcessLost : public Error, public Attributed {
 public:
  ProcessLost(const std::string& message, bool is_told) : Error(message), is_told_(is_told) {}

  /// Whether another process tells the user the reason.
  bool is_told() const { return is_told_; }

 private:
  bool is_told_;
};

/// An error in the configuration that all processes find, each for itself.
class WorldConfigError : public ConfigError {
 public:
  using ConfigError::ConfigError;
};

/// Consecutive elements of a flat tensor.
struct FlatRange {
  std::int64_t offset = 0;
  std::int64_t length = 0;
};

/// The processes that train one run together: this one is `rank()` of `size()`, and the first one, rank 0, keeps the
/// run's records. All processes must call the methods below in the same order and with tensors of the same shapes; each
/// call returns once all have made it, unless it is queued. If another process has failed or does not come, they throw
/// ProcessLost.
///
/// This class itself is a world of one process.
class World {
 public:
  World() = default;
  virtual ~World() = default;
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  /// The world of a run that a single process trains.
  static World& alone() {
    static World world;
    return world;
  }

  virtual int rank() const { return 0; }
  virtual int size() const { return 1; }
  bool is_first() const { return rank() == 0; }

  /// ", of rank 1 on node7", for messages about this process; empty if there is only one.
  virtual std::string whose(int /*rank*/) const { return ""; }

  /// The number of threads for this process's CPU operations, given what the experiment asks for (0: it does not say).
  virtual std::int64_t threads(std::int64_t asked) const { return asked; }

  /// Prepares the exchange of tensors on `device`, which this process computes on. Returns how they are exchanged, for
  /// the user; empty if there is nothing to say.
  virtual std::string use_device(c10::Device /*device*/) { return ""; }

  /// Whether `sum` and `exchange` of tensors on that device are queued there: they return at once, and what is queued
  /// later finds their results. Otherwise they wait for the device and use the CPU's memory. The same in all processes
  /// until ProcessLost is thrown: then false, whatever was queued before.
  virtual bool queues_exchanges() const { return true; }

  /// Waits for queued exchanges, and watches the other processes meanwhile: to be called before the host waits for the
  /// device in any other way, which would never end if one of them is gone. Needs no call by the others. Throws
  /// ProcessLost if one is gone, or if exchanges were broken off by that.
  /// @param is_done  whether what the host needs is done; none: waits for all that is queued
  virtual void finish(const std::function<bool()>& /*is_done*/ = {}) {}

  /// Whether `own` is true in any process.
  virtual bool any(bool own) { return own; }

  /// Replaces the tensor (contiguous float32) by its sum over the processes, with the same bits in all of them.
  virtual void sum(const at::Tensor& /*tensor*/) {}

  /// Begins a `sum` beside what this process computes, and may return at once: until `end_sums`, nothing else may use
  /// the tensor. During a backward pass any thread may call it. All processes must begin the same sums in the same
  /// order, but each where it likes between other calls of a backward pass.
  virtual void begin_sum(const at::Tensor& tensor) { sum(tensor); }

  /// Ends the sums that have begun: what is computed, or queued on the device, after this call finds their results.
  virtual void end_sums() {}

  /// Concatenates the rows [n, ...] of all processes in the order of ranks: [size() n, ...], without gradient.
  virtual at::Tensor gather(const at::Tensor& own) { return own; }

  /// The same with gradient: the gradient for a process's rows is the sum over the processes, all of which must run the
  /// backward pass.
  virtual at::Tensor gather_with_gradient(const at::Tensor& own) { return own; }

  /// Replaces the tensor, of any type and device, by the first process's.
  virtual void take_from_first(const at::Tensor& /*tensor*/) {}

  /// Replaces the first process's tensor, of any type and device, by that of process `from`; the others' is ignored.
  virtual void give_to_first(const at::Tensor& /*tensor*/, int /*from*/) {}

  /// Replaces each range of the flat tensor (contiguous float32) by that of the process which the range belongs to.
  /// @param ranges  by rank; the same in all processes
  virtual void exchange(const at::Tensor& /*flat*/, const std::vector<FlatRange>& /*ranges*/) {}

  /// The string of the first process.
  virtual std::string take_from_first(const std::string& words) { return words; }

  /// The string of each process, by rank.
  virtual std::vector<std::string> gather(const std::string& words) { return {words}; }

  /// Runs `work()` in the first process, however long it takes; the others wait for its end. Meanwhile, for every
  /// string that the first one passes to take_from_first, `help(string)` is called in the others, so all can share the
  /// work.
  using Help = std::function<void(const std::string& words)>;
  virtual void on_first(const std::function<void()>& work, const Help& /*help*/ = {}) { work(); }
};

}  // namespace casdm
