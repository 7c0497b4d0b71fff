#pragma once

#include <functional>
#include <vector>

#include "framework/conformance/conformance.h"

namespace casdm::conformance {

/// Receives one call into the component, by the name of its method; `work` makes it, once.
using CallRunner = std::function<void(const char* name, const std::function<void()>& work)>;

/// Makes every call that the host makes of a component of this kind, in the host's order: constructor first, destructor
/// last. Returns the tensors that came back, for comparison.
/// @param keeps_spec  false: the Spec cannot be read any more once the constructor has returned
std::vector<Tensor> make_every_call(const Subject& subject, const CallRunner& run, bool keeps_spec = true);

}  // namespace casdm::conformance
