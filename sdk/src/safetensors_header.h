#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/module.h"

namespace casdm {

/// Where a tensor's numbers are, in bytes after the header.
struct TensorEntry {
  std::string name;
  at::ScalarType type = at::kFloat;
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

/// The JSON at the front of a safetensors file.
struct TensorHeader {
  std::vector<TensorEntry> entries;  ///< in the order of their offsets, which leave no gap and do not overlap
  std::map<std::string, std::string> metadata;
};

/// Takes time and memory in proportion to `json`, whatever it holds.
/// @param size  bytes that follow the header
/// Throws Error (without the file's name) when it is not such a header, or does not fit `size`.
TensorHeader read_tensor_header(std::string_view json, std::uint64_t size);

/// The header of a file that holds `tensors` one after another. Throws Error (without the file's name) when a name
/// comes twice, is reserved or is not UTF-8, and when a dtype cannot be written.
std::string write_tensor_header(const NamedTensors& tensors, const std::map<std::string, std::string>& metadata);

}  // namespace casdm
