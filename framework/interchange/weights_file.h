#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "casdm/module.h"
#include "framework/interchange/recorded_options.h"

namespace casdm {

/// Weights as they were found somewhere.
struct Weights {
  NamedTensors tensors;  ///< on the CPU
  Metadata metadata;     ///< of a safetensors file; else empty
  std::string format;    ///< "safetensors", "PyTorch zip, state 'ema'", ...
};

/// Reads a safetensors file or one of `torch.save` (see torch_file.h).
/// @param key  the state to take of several in a file of torch.save
/// Throws Error naming the file when it is neither, truncated or damaged.
Weights read_weights(const std::filesystem::path& path, const std::string& key = "");

/// Those of `tensors` whose names begin with `prefix`, without it. Throws ConfigError when there is none.
NamedTensors without_prefix(const NamedTensors& tensors, const std::string& prefix);

/// One line a dtype: its name, the number of tensors and of elements.
std::string summary_of(const NamedTensors& tensors);

}  // namespace casdm
