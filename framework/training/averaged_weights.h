#pragma once

#include <vector>

#include "framework/training/module_state.h"

namespace casdm {

/// While this object lives, the main average takes the place of the weights.
class AveragedWeights {
 public:
  explicit AveragedWeights(std::vector<ModuleState>& modules) : modules_(modules) { swap(); }
  ~AveragedWeights() { swap(); }
  AveragedWeights(const AveragedWeights&) = delete;
  AveragedWeights& operator=(const AveragedWeights&) = delete;

 private:
  void swap() {
    for (ModuleState& module : modules_) module.swap_ema();
  }
  std::vector<ModuleState>& modules_;
};

}  // namespace casdm
