#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "casdm/block_kernel.h"

namespace casdm::trunks {

using at::Tensor;

/// A kernel for float32 and one for bfloat16, with a thread for each element of its last tensor.
class ElementKernels {
 public:
  /// @param source  has struct Place as well
  ElementKernels(const std::string& name, const std::string& source);

  /// @param numbers  what the kernel gets behind the number of elements
  void launch(std::vector<Tensor> tensors, const std::vector<std::int64_t>& numbers) const;

 private:
  BlockKernel of_float_, of_bfloat16_;
};

/// Whether x, on its device and in its type, can be the argument of such a kernel, and so can what is at most
/// as large.
bool takes_element_kernels(const Tensor& x);

}  // namespace casdm::trunks
