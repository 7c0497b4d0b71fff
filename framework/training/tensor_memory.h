#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "casdm/module.h"

namespace casdm {

/// Restores the values of tensors when it is destroyed, unless the new ones are to be kept.
class TensorMemory {
 public:
  /// @param tensors  returns handles to them and is called again to restore them
  explicit TensorMemory(std::function<NamedTensors()> tensors);
  ~TensorMemory();
  TensorMemory(const TensorMemory&) = delete;
  TensorMemory& operator=(const TensorMemory&) = delete;

  void keep() { before_.clear(); }

 private:
  std::function<NamedTensors()> tensors_;
  std::vector<Tensor> before_;
};

}  // namespace casdm
