#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

#include "casdm/api.h"

/// Helpers that keep a GPU busy from device-independent code: asynchronous copies, and kernels compiled from source
/// text where an accelerator supports them.
namespace casdm CASDM_API {

using at::Tensor;

/// `x` on `device`: x itself where it is there already. A copy from the CPU to a GPU goes through pinned memory, so
/// that the caller continues while it is under way; x may be changed or freed at once.
Tensor to_device(const Tensor& x, c10::Device device);

/// The source of a function of int32 numbers, which a kernel applies to each element of its inputs:
///
///     template <typename T> T twice(T x) { return x + x; }
struct ElementFunction {
  std::string name;    ///< "twice"
  std::string source;  ///< CUDA C++ without includes; the functions it calls come before it
};

/// `function` of each element, as int32 in the inputs' common shape (they are broadcast). It is compiled at the first
/// call in this process.
/// @param inputs   int32, on one device
/// @param numbers  its further arguments, the same for every element
/// @return undefined where that device cannot compile kernels: use tensor operations there
Tensor for_each_element(const ElementFunction& function, const std::vector<Tensor>& inputs,
                        const std::vector<std::int64_t>& numbers);

/// How a type of device runs an ElementFunction. Set by the host once it has chosen the device.
using ElementLauncher = Tensor (*)(const ElementFunction&, const std::vector<Tensor>&,
                                   const std::vector<std::int64_t>&);
void set_element_launcher(c10::DeviceType type, ElementLauncher launcher);

}  // namespace casdm
