#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "casdm/error.h"

namespace casdm {

/// Another process of the run has failed, is gone or has not come.
class ProcessLost : public Error {
 public:
  ProcessLost(const std::string& message, bool is_told) : Error(message), is_told_(is_told) {}

  /// Whether another process tells the user why.
  bool is_told() const { return is_told_; }

 private:
  bool is_told_;
};

/// What all processes find wrong alike with what each was asked for.
class WorldConfigError : public ConfigError {
 public:
  using ConfigError::ConfigError;
};

/// The processes that train one run together: this one is `rank()` of `size()`, and the first, rank 0, keeps the run's
/// records. What follows is done by all of them, in the same order and with tensors of the same shapes; each returns
/// when all have come. Where another process has failed, or does not come, they throw ProcessLost.
///
/// This class itself is a world of one process.
class World {
 public:
  World() = default;
  virtual ~World() = default;
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  /// The one process of a run that nobody else trains.
  static World& alone() {
    static World world;
    return world;
  }

  virtual int rank() const { return 0; }
  virtual int size() const { return 1; }
  bool is_first() const { return rank() == 0; }

  /// ", of rank 1 on node7", to follow in a message what is of this process; empty for one process.
  virtual std::string whose(int /*rank*/) const { return ""; }

  /// The threads of this process's CPU operations where the experiment asks for so many (0: it does not care).
  virtual std::int64_t threads(std::int64_t asked) const { return asked; }

  /// Whether it is so in any process.
  virtual bool any(bool own) { return own; }

  /// Replaces the tensor, contiguous float32, by its sum over the processes, which has the same bits in all of them.
  virtual void sum(const at::Tensor& /*tensor*/) {}

  /// [n, ...] of each process, one after another in the order of ranks: [size() n, ...], without gradient.
  virtual at::Tensor gather(const at::Tensor& own) { return own; }

  /// The same with gradient: what a process gets back for its rows is the sum over the processes, all of which go back
  /// through it.
  virtual at::Tensor gather_with_gradient(const at::Tensor& own) { return own; }

  /// Replaces the tensor, of any type and device, by that of the first process.
  virtual void take_from_first(const at::Tensor& /*tensor*/) {}

  /// The words of the first process.
  virtual std::string take_from_first(const std::string& words) { return words; }

  /// The words of each process, by rank.
  virtual std::vector<std::string> gather(const std::string& words) { return {words}; }

  /// `work()` in the first process, however long it takes; the others wait for its end. Meanwhile, whatever words the
  /// first one gives by take_from_first, `help(words)` is called in the others: there is work for all.
  using Help = std::function<void(const std::string& words)>;
  virtual void on_first(const std::function<void()>& work, const Help& /*help*/ = {}) { work(); }
};

}  // namespace casdm
