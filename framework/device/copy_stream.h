#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/Stream.h>

#include <optional>

namespace casdm {

/// Copies to a GPU beside the work that is queued there: a copy can be made while the GPU still computes a step before
/// the one that needs it.
class CopyStream {
 public:
  explicit CopyStream(c10::Device device);

  /// `x` on the device, as by to_device (casdm/on_device.h). What the calling thread queues after it sees the values.
  at::Tensor to_device(const at::Tensor& x) const;

 private:
  c10::Device device_;
  std::optional<c10::Stream> stream_;  ///< none on the CPU
};

}  // namespace casdm
