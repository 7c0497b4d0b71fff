#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "casdm/module.h"
#include "framework/distributed/world.h"

namespace casdm {

/// Named tensors of which each process has a part, which may overlap: a tensor that several processes have is the same
/// in all of them.
class DividedTensors {
 public:
  /// Keeps a reference to `world`. All processes must call it, as all methods but `blank`.
  /// @param names  of all tensors, in their order
  /// @param own    of this process; throws Error if the processes together have other tensors than `names`
  DividedTensors(const std::vector<std::string>& names, const NamedTensors& own, World& world);

  /// All tensors in the first process: its own ones, and copies of the others on the CPU. Elsewhere nothing.
  NamedTensors collect(const NamedTensors& own) const;

  /// Tensors like all of them, on the CPU.
  NamedTensors blank() const;

  /// Copies those of `all`, which the first process passes, into those of each process.
  void distribute(const NamedTensors& all, const NamedTensors& own) const;

  /// Adds the bytes that each process has to `bytes`, by rank.
  void add_bytes(std::vector<std::int64_t>& bytes) const;

 private:
  struct Entry {
    std::string name;
    std::vector<std::int64_t> shape;
    c10::ScalarType type = c10::ScalarType::Float;
    std::vector<int> owners;  ///< ranks, ascending
  };

  World& world_;
  std::vector<Entry> entries_;
};

}  // namespace casdm
