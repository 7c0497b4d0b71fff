#pragma once

#include "casdm/safetensors.h"

namespace casdm {

/// write_safetensors, with the SHA-256 of names, types, shapes, values and metadata as one more entry of the metadata,
/// "sha256".
void write_checked_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                           std::map<std::string, std::string> metadata = {});

/// read_safetensors. Throws Error when the file says its SHA-256 and holds anything else.
TensorFile read_checked_tensors(const std::filesystem::path& path);

}  // namespace casdm
