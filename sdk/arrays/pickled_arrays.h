#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sdk/arrays/pickle_values.h"

/// NumPy arrays in pickles.
namespace casdm {

/// Whether a pickle of arrays may contain this name.
bool is_numpy_name(std::string_view name);

/// The result of calling a known function that makes arrays, their types or bytes. Throws Error for other names and for
/// invalid arguments.
PickledNode call_numpy(const std::string& name, const std::vector<PickledNode*>& arguments);

/// Sets the state of an array, or of an array type, like Python's `__setstate__`. Throws Error for other nodes and
/// states.
void set_numpy_state(PickledNode& node, const PickledNode& state);

/// The arrays of a pickled dict by key, those of a dict inside it as "key.key", as float64 in C order. Executes
/// nothing. Throws Error with the file's name if it is truncated or damaged, or contains anything but floating-point
/// arrays and plain containers.
std::map<std::string, at::Tensor> read_pickled_arrays(const std::filesystem::path& path);

}  // namespace casdm
