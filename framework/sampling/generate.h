#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>

#include "casdm/error.h"
#include "framework/composition/model.h"

namespace casdm {

/// How images are drawn.
struct GenerateOptions {
  std::uint64_t seed = 0;
  std::int64_t first = 0;  ///< index of the first image; its noise depends on (seed, index) alone
  std::int64_t count = 1;
  std::int64_t channels = 3;
  std::int64_t image_size = 32;
  Tensor labels;  ///< int64 [count]; undefined when unconditional
  c10::Device device = c10::Device(c10::kCPU);
  Precision precision = Precision::fp32;
  std::function<void(std::size_t step, std::size_t steps)> on_step;  ///< may be empty
  std::function<bool()> is_cancelled;                                ///< may be empty; polled once a step
};

/// `is_cancelled` ended the sampling.
class SamplingCancelled : public Error {
 public:
  using Error::Error;
};

/// Images [count, C, H, W] from noise by the model's sampler, float32 on the CPU, finite, not clamped.
/// Puts the modules into evaluation mode and leaves them there. Throws SamplingCancelled; PluginError when the head or
/// the sampler returns tensors of another shape or type than it must; Error that names sampler, step and image when an
/// image is not finite.
Tensor generate(const Model& model, const GenerateOptions& options);

}  // namespace casdm
