#pragma once

#include "casdm/safetensors.h"

namespace casdm {

/// Like write_safetensors, with one more metadata entry, "sha256": the SHA-256 of names, types, shapes, values and
/// metadata.
void write_checked_tensors(const std::filesystem::path& path, const NamedTensors& tensors,
                           std::map<std::string, std::string> metadata = {});

/// Like read_safetensors. Throws Error if the file has a SHA-256 that does not match its contents.
TensorFile read_checked_tensors(const std::filesystem::path& path);

}  // namespace casdm
