#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <string>

#include "casdm/safetensors.h"
#include "casdm/value.h"
#include "support/components.h"

/// The states with which the golden networks were run (tests/parity/feature_extractors.py).
namespace casdm::testing {

/// Uninitialised tensors of the shapes {name: [..]} of a golden's metadata.
inline NamedTensors shapes_of(const std::string& json) {
  NamedTensors state;
  const Value table = from_json(json);
  for (const auto& [name, shape] : table.as_table()) {
    std::vector<std::int64_t> sizes;
    for (const Value& size : shape.as_array()) sizes.push_back(size.as_integer());
    state.emplace_back(name, at::empty(sizes));
  }
  return state;
}

inline NamedTensors inception_state(NamedTensors state) {
  fill_state(state);
  for (auto& [name, tensor] : state) {
    if (name.ends_with("running_var")) tensor.add_(1);
    if (name.ends_with("conv.weight")) tensor.mul_(static_cast<float>(std::sqrt(2.0)));
  }
  return state;
}

inline NamedTensors dinov2_state(NamedTensors state) {
  fill_state(state);
  for (auto& [name, tensor] : state) {
    if (name.ends_with("gamma")) tensor.add_(1);
  }
  return state;
}

/// Weights in a file that exists as long as this object.
class FilledWeights {
 public:
  explicit FilledWeights(const NamedTensors& state) { write_safetensors(path(), state); }
  std::filesystem::path path() const { return folder_.path() / "weights.safetensors"; }
  /// The option that names the file, as a line of TOML.
  std::string option() const { return "weights = \"" + path().string() + "\"\n"; }

 private:
  TemporaryFolder folder_;
};

}  // namespace casdm::testing
