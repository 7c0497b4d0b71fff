#pragma once

#include <vector>

#include "framework/training/module_state.h"

namespace casdm {

/// While this object lives, the main average takes the place of the weights. All processes must create it, and all or
/// none call `put_back`.
class AveragedWeights {
 public:
  explicit AveragedWeights(std::vector<ModuleState>& modules) : modules_(modules) {
    swap();
    for (ModuleState& module : modules_) module.share_weights();
  }

  /// After a failure of any process nobody waits for another: of divided modules, only this process's share gets its
  /// weights back.
  ~AveragedWeights() {
    if (!is_put_back_) swap();
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
  void swap() {
    for (ModuleState& module : modules_) module.swap_ema();
  }
  std::vector<ModuleState>& modules_;
  bool is_put_back_ = false;
};

}  // namespace casdm
