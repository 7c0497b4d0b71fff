#pragma once

#include <filesystem>
#include <string>

#include "casdm/module.h"

namespace casdm::testing {

/// The state of LPIPS with the trunk `net` (vgg16, alexnet, squeezenet), in the published layout: the trunk filled like
/// the goldens' (fill_state on the trunk alone), the input scaling, and every head 1.
NamedTensors lpips_state(const std::string& net);

/// The same for DISTS with VGG16: the trunk filled in the same way, alpha 1 and beta 1/2 everywhere.
NamedTensors dists_state();

}  // namespace casdm::testing
