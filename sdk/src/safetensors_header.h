#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/module.h"

namespace casdm {

/// The position of a tensor's numbers, in bytes after the header.
struct TensorEntry {
  std::string name;
  at::ScalarType type = at::kFloat;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// The JSON at the beginning of a safetensors file.
struct TensorHeader {
  std::vector<TensorEntry> entries;  ///< in the order of their offsets, without gaps or overlaps
  std::map<std::string, std::string> metadata;
};

/// Needs time and memory in proportion to `json`, whatever it contains.
/// @param size  number of bytes after the header
/// Throws Error (without the file's name) if it is not a valid header or does not match `size`.
TensorHeader read_tensor_header(std::string_view json, std::uint64_t size);

/// The header of a file that contains `tensors` one after another. Throws Error (without the file's name) if a name
/// occurs twice, is reserved or is not UTF-8, or if a dtype is not supported.
std::string write_tensor_header(const NamedTensors& tensors, const std::map<std::string, std::string>& metadata);

}  // namespace casdm
