#include "framework/interchange/weights_file.h"

#include <algorithm>
#include <fstream>
#include <map>

#include "casdm/error.h"
#include "casdm/text.h"
#include "framework/interchange/torch_file.h"
#include "framework/support/checked_tensors.h"
#include "framework/support/number_format.h"
#include "framework/support/text_table.h"

namespace casdm {

namespace fs = std::filesystem;

namespace {

/// The header of a safetensors file is JSON after eight bytes of length.
bool is_safetensors_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(8);
  return path.extension() == ".safetensors" || file.get() == '{';
}

}  // namespace

Weights read_weights(const fs::path& path, const std::string& key) {
  if (!fs::is_regular_file(path)) throw Error(text(path.string(), " is not a file"));
  if (is_torch_file(path)) {
    TorchState state = read_torch_state(path, key);
    return {std::move(state.tensors), {}, state.format + (state.key.empty() ? "" : ", state " + quoted(state.key))};
  }
  if (!is_safetensors_file(path)) {
    throw Error(
        text(path.string(), " is neither a safetensors file nor one of torch.save (or it is cut off at its start)"));
  }
  if (!key.empty())
    throw ConfigError("--key chooses among the states of a file of torch.save; a safetensors file has one");
  TensorFile file = read_checked_tensors(path);
  return {std::move(file.tensors), std::move(file.metadata), "safetensors"};
}

NamedTensors without_prefix(const NamedTensors& tensors, const std::string& prefix) {
  NamedTensors result;
  for (const auto& [name, tensor] : tensors) {
    if (name.starts_with(prefix)) result.emplace_back(name.substr(prefix.size()), tensor);
  }
  if (result.empty() && !tensors.empty()) {
    throw ConfigError(
        text("no tensor's name begins with ", quoted(prefix), "; the first is ", quoted(tensors.front().first)));
  }
  return result;
}

std::string summary_of(const NamedTensors& tensors) {
  std::map<at::ScalarType, std::pair<std::int64_t, std::int64_t>> types;
  for (const auto& [name, tensor] : tensors) {
    auto& [count, elements] = types[tensor.scalar_type()];
    ++count;
    elements += tensor.numel();
  }
  std::vector<std::vector<std::string>> rows = {{"DTYPE", "TENSORS", "ELEMENTS"}};
  for (const auto& [type, counts] : types) {
    rows.push_back({at::toString(type), std::to_string(counts.first),
                    text(counts.second, " (", short_count(static_cast<double>(counts.second)), ")")});
  }
  return text_table(rows, 2);
}

}  // namespace casdm
