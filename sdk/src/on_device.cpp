#include "casdm/on_device.h"

#include <ATen/ATen.h>
#include <c10/util/Exception.h>

#include <atomic>

#include "casdm/error.h"
#include "casdm/text.h"
#include "recording.h"

namespace casdm {

namespace {

/// Of the accelerator; a process has at most one type.
std::atomic<ElementLauncher> launcher_of_accelerator = nullptr;
std::atomic<c10::DeviceType> accelerator = c10::kCPU;

}  // namespace

Tensor to_device(const Tensor& x, c10::Device device) {
  if (!x.is_cpu() || device.type() != c10::kCUDA) return x.to(device);
  if (Recording::current() != nullptr) {
    throw Error("it copies the host's values to the device, and a recorded step would repeat them as they are");
  }
  return x.pin_memory().to(device, /*non_blocking=*/true);
}

void set_element_launcher(c10::DeviceType type, ElementLauncher launcher) {
  accelerator = type;
  launcher_of_accelerator = launcher;
}

Tensor for_each_element(const ElementFunction& function, const std::vector<Tensor>& inputs,
                        const std::vector<std::int64_t>& numbers) {
  for (const Tensor& input : inputs) {
    if (input.scalar_type() == at::kInt && input.device() == inputs.front().device()) continue;
    throw Error(text(function.name, " takes int32 numbers on one device, got ", input.scalar_type(), " on ",
                     input.device(), " and ", inputs.front().scalar_type(), " on ", inputs.front().device()));
  }
  const ElementLauncher launcher = launcher_of_accelerator;
  if (launcher == nullptr || inputs.empty() || inputs.front().device().type() != accelerator) return {};
  return launcher(function, inputs, numbers);
}

}  // namespace casdm
