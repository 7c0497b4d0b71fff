#pragma once

#include <c10/core/Device.h>

#include <string>

namespace casdm {

/// The device that `name` ("cpu", "cuda", "auto") means on this machine. `cuda` loads the CUDA
/// backend and throws Error saying what is missing when it or a device is absent; `auto` takes
/// CUDA where a driver and a device are present and the CPU otherwise.
c10::Device select_device(const std::string& name);

struct SelectedDevice {
  c10::Device device;
  std::string description;  ///< "cpu", "cuda:0, NVIDIA H100", or why `auto` is the CPU although a driver is there
};

/// select_device with what a user should see of the choice.
SelectedDevice describe_selection(const std::string& name);

/// Throws ConfigError when the networks cannot run in `precision` on `device`: fp16 is for CUDA.
void require_precision(c10::Device device, const std::string& precision);

/// Runs the networks in lower precision while it lives: autocast to bf16 or fp16, or nothing for fp32.
/// Casts of weights are not cached: a cached cast could outlive an update of its weight, or lack the gradient
/// when the weight was first used without. Throws ConfigError for fp16 on the CPU.
class Autocast {
 public:
  Autocast(c10::Device device, const std::string& precision);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  c10::DeviceType type_;
  bool is_active_;
  bool was_caching_ = true;
};

}  // namespace casdm
