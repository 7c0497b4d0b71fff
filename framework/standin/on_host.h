#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "framework/standin/memory.h"

namespace casdm::standin {

/// While this object lives, calls go directly to the kernels.
struct KernelsOnly {
  c10::impl::ExcludeDispatchKeyGuard guard{c10::autograd_dispatch_keyset_with_ADInplaceOrView |
                                           c10::autocast_dispatch_keyset};
};

/// Converts the arguments and results of one operator for the CPU's kernels: tensors on the device appear as CPU
/// tensors with the same memory, and tensors that the kernels create become the device's.
class OnHost {
 public:
  /// @param op  for messages: "aten::add.Tensor"
  explicit OnHost(std::string op) : op_(std::move(op)) {}

  /// Throws the same error as LibTorch if `x` is not on the device.
  at::Tensor argument(const at::Tensor& x);

  /// Converts tensors, lists of tensors and generators in place; other values stay as they are.
  /// @param takes  whether a CPU tensor is accepted as it is
  template <class Takes>
  void argument(c10::IValue& value, const Takes& takes);

  /// Applies the kernel's changes to arguments that it may resize or set.
  void update_arguments() const;

  /// `result` on the device: the argument's tensor if it is one of the arguments, a view of an argument's memory, or a
  /// new tensor.
  at::Tensor result(const at::Tensor& result);
  void result(c10::IValue& value);

 private:
  struct Pair {
    at::Tensor device;
    at::Tensor host;
  };
  std::string op_;
  DeviceCode code_;
  std::vector<Pair> pairs_;
  std::map<const c10::StorageImpl*, c10::Storage> to_host_, to_device_;
};

template <class Takes>
void OnHost::argument(c10::IValue& value, const Takes& takes) {
  const auto one = [&](const at::Tensor& x) { return x.defined() && x.is_cpu() && takes(x) ? x : argument(x); };
  if (value.isTensor()) {
    value = one(value.toTensor());
  } else if (value.isTensorList()) {
    c10::List<at::Tensor> list;
    for (const at::Tensor& x : value.toTensorVector()) list.push_back(one(x));
    value = std::move(list);
  } else if (value.isOptionalTensorList()) {
    c10::List<std::optional<at::Tensor>> list;
    for (const std::optional<at::Tensor>& x : value.toOptionalTensorVector()) {
      list.push_back(x.has_value() ? std::optional(one(*x)) : x);
    }
    value = std::move(list);
  }
}

}  // namespace casdm::standin
