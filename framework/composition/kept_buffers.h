#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "casdm/module.h"
#include "framework/loading/component.h"

namespace casdm {

/// What is wrong with `tensors`, handles that a checkpoint will store; empty: nothing. Each must have a unique name, be
/// defined and dense, have its own elements of a dtype that files support, and be the tensor with which the component
/// computes: `again`, from a second call, must share its storage.
std::string fault_of_handles(const NamedTensors& tensors, const NamedTensors& again);

/// The name and shape of a tensor.
using TensorForm = std::pair<std::string, std::vector<std::int64_t>>;

std::vector<TensorForm> tensor_forms(const NamedTensors& tensors);

/// How the names or shapes of `tensors`, the buffers of a component, differ from `forms`, the original ones; empty: not
/// at all.
std::string fault_of_forms(const NamedTensors& tensors, const std::vector<TensorForm>& forms);

/// The buffers of a component with state: checked when it is created, and then stored in every checkpoint.
template <class K>
class KeptBuffers {
 public:
  /// No buffers.
  KeptBuffers() = default;

  /// Throws PluginError if a checkpoint cannot store the buffers.
  explicit KeptBuffers(Component<K> component) : component_(std::move(component)) {
    const NamedTensors buffers = component_.call(&K::buffers);
    const std::string fault = fault_of_handles(buffers, component_.call(&K::buffers));
    if (!fault.empty()) component_.fail(fault);
    forms_ = tensor_forms(buffers);
  }

  /// Whether there are no buffers.
  bool is_empty() const { return forms_.empty(); }

  /// The current buffers. Throws PluginError if their names or shapes have changed, since a checkpoint is restored to
  /// these.
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
