#pragma once

#include <cstdint>
#include <vector>

#include "casdm/cascade_head.h"

namespace casdm {

/// The tensors that the terms with a gradient would give one and that are none of `parameters`, such as a head's own
/// gate that is in no module: they would be neither trained nor saved. Tensors of `batch_size` rows, such as images at
/// which a head asks for a gradient, are left out.
std::vector<Tensor> stray_leaves(const std::vector<LossTerm>& terms, const std::vector<Tensor>& parameters,
                                 std::int64_t batch_size);

}  // namespace casdm
