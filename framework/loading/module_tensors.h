#pragma once

#include "casdm/module.h"
#include "casdm/text.h"
#include "framework/loading/component.h"

namespace casdm {

/// Throws PluginError if one of the parameters or buffers of a component is undefined.
template <class K>
void require_tensors(const Component<K>& component) {
  const auto check = [&](const char* call, const NamedTensors& tensors) {
    for (const auto& [name, tensor] : tensors) {
      if (!tensor.defined()) component.fail(text(call, " returned an undefined tensor as ", quoted(name)));
    }
  };
  check("parameters()", component.call(&Module::parameters));
  check("buffers()", component.call(&Module::buffers));
}

}  // namespace casdm
