#pragma once

#include <vector>

#include "casdm/cascade_head.h"

namespace casdm {

/// The tensors that the terms with a gradient would give one and that are none of `parameters`, such as a head's own
/// gate that is in no module: they would be neither trained nor saved. Inputs at which a head asks for a gradient are
/// among them; other than parameters, these are new tensors in each step.
std::vector<Tensor> stray_leaves(const std::vector<LossTerm>& terms, const std::vector<Tensor>& parameters);

/// Whether one of the terms is computed from `value`, which has a gradient.
bool depend_on(const std::vector<LossTerm>& terms, const Tensor& value);

}  // namespace casdm
