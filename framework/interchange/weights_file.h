#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "casdm/module.h"
#include "framework/interchange/recorded_options.h"

namespace casdm {

/// Weights read from some file.
struct Weights {
  NamedTensors tensors;  ///< on the CPU
  Metadata metadata;     ///< of a safetensors file; else empty
  std::string format;    ///< "safetensors", "PyTorch zip, state 'ema'", ...
};

/// Reads a safetensors file or one of `torch.save` (see torch_file.h).
/// @param key  which of several states in a file of torch.save to read
/// Throws Error with the file's name if it is neither of these, truncated or damaged.
Weights read_weights(const std::filesystem::path& path, const std::string& key = "");

/// The tensors whose names begin with `prefix`, without the prefix. Throws ConfigError if there are none.
NamedTensors without_prefix(const NamedTensors& tensors, const std::string& prefix);

/// One line per dtype: its name and the numbers of tensors and elements.
std::string summary_of(const NamedTensors& tensors);

}  // namespace casdm
