#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "casdm/module.h"

namespace casdm {

/// What a network is told besides the image and the time.
struct Condition {
  /// Class labels, int64 [B], on the images' device; undefined for unconditional networks.
  Tensor labels;
  /// What an augmentation did to the images, floating point [B, augment_size] (Karras et al. 2022, appendix F.2);
  /// undefined: nothing, as zeros.
  Tensor augment;
  /// The generator that dropout must draw from in training mode; absent: no dropout is applied.
  /// One per module and step, so that no module's draws depend on another's.
  std::optional<at::Generator> dropout;
};

/// A network that maps an image at a diffusion time to an image-shaped prediction.
///
/// It knows nothing of what its output means (noise, clean image, gate): that is the head's.
/// Gradients must flow from the output to x and to every parameter.
/// One thread calls it at a time. It must not touch the global generator or grad mode.
class Backbone : public Module {
 public:
  using Interface = Backbone;
  static constexpr std::string_view kind = "backbone";
  static constexpr int interface_version = 1;

  /// What the head asks for. The constructor throws ConfigError when the options cannot serve
  /// it (an attention resolution that never occurs, channels that do not split into groups).
  struct Spec {
    std::int64_t in_channels = 3;
    std::int64_t out_channels = 3;
    std::int64_t image_size = 32;   ///< height and width in pixels
    std::int64_t num_classes = 0;   ///< 0: unconditional; else labels are in 0..num_classes-1
    std::uint64_t seed = 0;         ///< of the weights' initialisation; the global one stays untouched
    std::int64_t augment_size = 0;  ///< numbers per image in Condition::augment; 0: none
  };

  ~Backbone() override;

  /// @param x  [B, in_channels, H, W], floating point.
  /// @param t  [B], floating point: the timestep counted from 0 in the unspaced schedule
  ///           (0 is the least noise, T-1 the most); may be fractional in sampling.
  /// @return   [B, out_channels, H, W], same dtype as x (autocast may lower it).
  virtual Tensor forward(const Tensor& x, const Tensor& t, const Condition& condition) = 0;
};

}  // namespace casdm
