#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

#include "framework/config/experiment.h"

namespace casdm {

/// A device, set up for what a run asks of it.
struct SelectedDevice {
  c10::Device device;
  std::string description;  ///< "cpu", "cuda:0, NVIDIA H100 ...", or why `auto` is the CPU although a driver is there
};

/// The device that `run.device` ("cpu", "auto", "cuda", "cuda:1") means on this machine, with the arithmetic of
/// `run.precision` and `run.deterministic`. "cuda" is the device of the environment's LOCAL_RANK, else the first; it
/// loads the CUDA libraries and throws Error saying what is missing when they or a device are absent. "auto" takes CUDA
/// where a driver and a device are present and the CPU otherwise.
SelectedDevice select_device(const RunOptions& run);

/// Throws ConfigError when the networks cannot run in `precision` on `device`: fp16 is for CUDA.
void require_precision(c10::Device device, Precision precision);

/// The most memory that tensors took on `device` at a time, in bytes; 0 on the CPU.
std::int64_t peak_memory(c10::Device device);

/// While it lives, float32 is IEEE's whatever `run.precision` has allowed: for sums whose terms cancel. In what is
/// computed meanwhile, not in its backward pass.
class ExactFloats {
 public:
  ExactFloats();
  ~ExactFloats();
  ExactFloats(const ExactFloats&) = delete;
  ExactFloats& operator=(const ExactFloats&) = delete;

 private:
  bool had_tf32_;
};

/// Runs the networks in lower precision while it lives: autocast to bf16 or fp16, or nothing for fp32 and tf32.
/// Casts of weights are not cached: a cached cast could outlive an update of its weight, or lack the gradient
/// when the weight was first used without. Throws ConfigError for fp16 on the CPU.
class Autocast {
 public:
  Autocast(c10::Device device, Precision precision);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  c10::DeviceType type_;
  bool is_active_;
  bool was_caching_ = true;
};

}  // namespace casdm
