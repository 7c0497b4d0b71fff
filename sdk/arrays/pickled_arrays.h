#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "sdk/arrays/pickle_values.h"

/// NumPy's arrays in pickles.
namespace casdm {

/// Whether a pickle of arrays may name it: what NumPy's arrays need.
bool is_numpy_name(std::string_view name);

/// The result of calling a known function that makes arrays, their types or bytes. Throws Error for other names, and
/// when the arguments do not fit.
PickledNode call_numpy(const std::string& name, const std::vector<PickledNode*>& arguments);

/// Fills an array, or the type of one, as Python's `__setstate__` does. Throws Error for other nodes and states.
void set_numpy_state(PickledNode& node, const PickledNode& state);

/// The arrays of a pickled dict by their keys; those of a dict within it as "key.key". As float64, in C order.
/// Executes nothing. Throws Error that names the file when it is truncated, damaged, or holds anything but arrays of
/// floating-point numbers and plain containers.
std::map<std::string, at::Tensor> read_pickled_arrays(const std::filesystem::path& path);

}  // namespace casdm
