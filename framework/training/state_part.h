#pragma once

#include <utility>

#include "casdm/module.h"
#include "framework/distributed/divided_tensors.h"

namespace casdm {

/// What a checkpoint stores in one file of one module, with handles to the tensors that this process has of it: all,
/// or, if the processes divide it, its own.
class StatePart {
 public:
  /// @param division  null: each process has all
  StatePart(NamedTensors own, const DividedTensors* division) : own_(std::move(own)), division_(division) {}

  NamedTensors own() const { return own_; }
  NamedTensors undivided() const { return division_ != nullptr ? NamedTensors() : own_; }

  /// All tensors, in the first process: handles, or copies of what other processes have. All processes must call it.
  NamedTensors whole() const { return division_ != nullptr ? division_->collect(own_) : own_; }

  /// Tensors into which all can be loaded: handles, or, if divided, new ones for `distribute`.
  NamedTensors loadable() const { return division_ != nullptr ? division_->blank() : own_; }

  /// If divided, copies all tensors, which the first process passes, into those of each process.
  void distribute(const NamedTensors& whole) const {
    if (division_ != nullptr) division_->distribute(whole, own_);
  }

 private:
  NamedTensors own_;
  const DividedTensors* division_;
};

}  // namespace casdm
