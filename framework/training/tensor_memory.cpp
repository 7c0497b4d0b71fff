#include "framework/training/tensor_memory.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <exception>

namespace casdm {

TensorMemory::TensorMemory(std::function<NamedTensors()> tensors) : tensors_(std::move(tensors)) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : tensors_()) before_.push_back(tensor.clone());
}

TensorMemory::~TensorMemory() {
  const at::NoGradGuard no_grad;
  try {
    if (before_.empty()) return;
    const NamedTensors now = tensors_();
    for (std::size_t i = 0; i < before_.size(); ++i) Tensor(now[i].second).copy_(before_[i]);
  } catch (const std::exception&) {  // the device has failed, so nothing can be saved from it
  }
}

}  // namespace casdm
