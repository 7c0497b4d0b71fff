#pragma once

#include <ATen/ops/empty.h>

#include <algorithm>
#include <exception>
#include <vector>

#include "framework/training/module_state.h"

namespace casdm {

/// While this object lives, the main average takes the place of the weights. All processes must create it, and all or
/// none call `put_back`.
class AveragedWeights {
 public:
  /// If it throws, the weights are as before.
  explicit AveragedWeights(std::vector<ModuleState>& modules) : modules_(modules), scratch_(scratch_for(modules)) {
    swap();
    try {
      for (ModuleState& module : modules_) module.share_weights();
    } catch (...) {
      swap();
      throw;
    }
  }

  /// After a failure of any process nobody waits for another: of divided modules, only this process's share gets its
  /// weights back. A device that has failed gives none back, and its state cannot be saved anyway.
  ~AveragedWeights() {
    if (is_put_back_) return;
    try {
      swap();
    } catch (const std::exception&) {
    }
  }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

  /// The object's last work. Throws ProcessLost.
  void put_back() {
    is_put_back_ = true;
    swap();
    for (ModuleState& module : modules_) module.share_weights();
  }

 private:
  /// Allocated beforehand, so that the weights can be put back when there is no memory left.
  static Tensor scratch_for(const std::vector<ModuleState>& modules) {
    constexpr std::int64_t kMost = std::int64_t{1} << 24;
    std::int64_t largest = 1;
    for (const ModuleState& module : modules) largest = std::max(largest, module.flat().weights.numel());
    return at::empty({std::min(largest, kMost)}, modules.front().flat().weights.options());
  }

  void swap() {
    for (ModuleState& module : modules_) module.swap_ema(scratch_);
  }

  std::vector<ModuleState>& modules_;
  Tensor scratch_;
  bool is_put_back_ = false;
};

}  // namespace casdm
