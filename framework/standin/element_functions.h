#pragma once

#include "casdm/on_device.h"

namespace casdm::standin {

/// Compiles the source of `function` with the C++ compiler on first use, as a GPU's compiler would, and runs it in a
/// loop over elements.
at::Tensor run_element_function(const ElementFunction& function, const std::vector<at::Tensor>& inputs,
                                const std::vector<std::int64_t>& numbers);

}  // namespace casdm::standin
