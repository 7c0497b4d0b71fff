#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>

#include "framework/config/experiment.h"

namespace casdm {

/// A device, configured as a run asks.
struct SelectedDevice {
  c10::Device device;
  std::string name;  ///< "cpu", "cuda:0, NVIDIA H100 ...", or why `auto` chose the CPU although there is a driver
  std::string description;  ///< on a GPU also how a run computes there: "cuda:0, NVIDIA H100 ...; bf16, deterministic"
};

/// The device that `run.device` ("cpu", "auto", "cuda", "cuda:1") means on this machine, configured for `run.precision`
/// and `run.deterministic`. "cuda" is the device of the environment's LOCAL_RANK, or the only one, where a launcher
/// shows each process its own; the CUDA libraries are loaded, and if they or the device are missing, an Error says so.
/// "auto" uses CUDA if there are a driver and a device, and the CPU otherwise.
SelectedDevice select_device(const RunOptions& run);

/// The same words in all processes that compute on this device, and others for each other device of the machine: a
/// launcher may show each process a device of its own, which all of them then call cuda:0.
std::string device_identity(c10::Device device);

/// Throws ConfigError if the networks cannot run in `precision` on `device`: fp16 needs CUDA.
void require_precision(c10::Device device, Precision precision);

/// Whether `device` multiplies bf16 numbers itself, instead of converting them to float32 first.
bool has_bf16_products(c10::Device device);

/// The streams on which this process computes, by the index of a device; null where they are none of CUDA.
struct DeviceStreams {
  void* (*current)(int index);
  bool (*is_idle)(int index);  ///< whether the current stream has done all that was queued
};
DeviceStreams device_streams(c10::Device device);

/// The maximum number of bytes that tensors used on `device` at any time; 0 on the CPU.
std::int64_t peak_memory(c10::Device device);

/// While this object lives, float32 is IEEE's, whatever `run.precision` allows: for sums whose terms cancel. Applies to
/// computations during this time, not to their backward pass.
class ExactFloats {
 public:
  ExactFloats();
  ~ExactFloats();
  ExactFloats(const ExactFloats&) = delete;
  ExactFloats& operator=(const ExactFloats&) = delete;

 private:
  bool had_tf32_;
};

/// While this object lives, networks run in lower precision: autocast to bf16 or fp16, no change for fp32 and tf32.
/// Casts of weights are not cached, since a cached cast could outlive an update of its weight, or lack the gradient if
/// the weight was first used without one. Throws ConfigError for fp16 on the CPU.
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
