#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "casdm/module.h"
#include "framework/loading/component.h"

namespace casdm {

/// What is wrong with `tensors`, handles that a checkpoint is to keep; empty when nothing is. Each must have a name of
/// its own, be defined and dense, hold elements of its own of a type that files hold, and be the tensor that the
/// component computes with: `again`, from a second call, shares its storage.
std::string fault_of_handles(const NamedTensors& tensors, const NamedTensors& again);

/// The name and shape of a tensor.
using TensorForm = std::pair<std::string, std::vector<std::int64_t>>;

/// How the names or shapes of `tensors` differ from `forms`, those that they began with; empty when they do not.
std::string fault_of_forms(const NamedTensors& tensors, const std::vector<TensorForm>& forms);

/// The buffers of a component that remembers: looked at when it is made, and then kept in every checkpoint.
template <class K>
class KeptBuffers {
 public:
  /// None.
  KeptBuffers() = default;

  /// Throws PluginError when a checkpoint cannot keep the buffers.
  explicit KeptBuffers(Component<K> component) : component_(std::move(component)) {
    const NamedTensors buffers = component_.call(&K::buffers);
    const std::string fault = fault_of_handles(buffers, component_.call(&K::buffers));
    if (!fault.empty()) component_.fail(fault);
    for (const auto& [name, tensor] : buffers) forms_.emplace_back(name, tensor.sizes().vec());
  }

  /// The buffers as they are now. Throws PluginError when they have not the names and shapes of the beginning: those
  /// that a checkpoint is restored to.
  NamedTensors tensors() const {
    if (!component_) return {};
    NamedTensors buffers = component_.call(&K::buffers);
    const std::string fault = fault_of_forms(buffers, forms_);
    if (!fault.empty()) component_.fail(fault);
    return buffers;
  }

 private:
  Component<K> component_;
  std::vector<TensorForm> forms_;
};

}  // namespace casdm
