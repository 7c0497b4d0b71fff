#include "state.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::set_metrics {

Tensor& tensor_of(NamedTensors& state, std::string_view name) {
  const auto found = std::find_if(state.begin(), state.end(), [&](const auto& entry) { return entry.first == name; });
  if (found == state.end()) {
    throw Error(text("the state of a set has no tensor ", quoted(name), ": it was gathered by another metric"));
  }
  return found->second;
}

const Tensor& tensor_of(const NamedTensors& state, std::string_view name) {
  return tensor_of(const_cast<NamedTensors&>(state), name);
}

void require_pooled(const FeatureInfo& feature) {
  if (!feature.is_spatial) return;
  throw ConfigError(text("it compares one vector per image, and the feature ", quoted(feature.name),
                         " has one per place; choose a feature without places, such as the extractor's pooled one"));
}

}  // namespace casdm::set_metrics
