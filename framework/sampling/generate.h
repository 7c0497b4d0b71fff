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
  Tensor labels;  ///< int64 [count]; undefined if unconditional
  c10::Device device = c10::Device(c10::kCPU);
  Precision precision = Precision::fp32;
  std::function<void(std::size_t step, std::size_t steps)> on_step;  ///< may be empty
  std::function<bool()> is_cancelled;                                ///< may be empty; called once per step
};

/// The sampling was ended by `is_cancelled`.
class SamplingCancelled : public Error {
 public:
  using Error::Error;
};

/// Draws images [count, C, H, W] from noise with the model's sampler; float32 on the CPU, finite, not clamped.
/// Puts the modules into evaluation mode and leaves them in it. Throws SamplingCancelled; PluginError if the head or
/// the sampler returns tensors of a wrong shape or type; Error with sampler, step and image if an image is not finite.
Tensor generate(const Model& model, const GenerateOptions& options);

/// Takes the first step of `generate` and forgets it, so that what cannot be drawn with this model is known before it
/// is trained. Throws like `generate`, except that values need not be finite.
void try_first_step(const Model& model, const GenerateOptions& options);

}  // namespace casdm
