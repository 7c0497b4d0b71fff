#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/api.h"
#include "casdm/condition.h"
#include "casdm/image_shape.h"
#include "casdm/module.h"

namespace casdm CASDM_API {

/// An inner feature that a backbone can hand out.
struct TapInfo {
  std::string name;                 ///< "middle", "block.3"
  std::vector<std::int64_t> shape;  ///< of one image: {C, H, W}, or {tokens, width}
};

/// A prediction, and the inner features that were asked for.
struct BackboneOutput {
  Tensor sample;      ///< [B, out_channels, H, W]
  NamedTensors taps;  ///< [B, ...] as TapInfo says, by the names and in the order that were asked for
};

/// A network that maps an image at a diffusion time to an image-shaped prediction.
///
/// It knows nothing of what its output means (noise, clean image, gate): that is the head's.
/// Gradients must flow from the output to x and to every parameter.
/// One thread calls it at a time. It must not touch the global generator or grad mode.
///
///     class Tiny : public NetworkOf<Backbone> {
///      public:
///       using Options = NoOptions;
///       Tiny(const Options&, const Spec& spec) : weight_(add_parameter("weight", at::zeros(...))) {}
///       Tensor forward(const Tensor& x, const Tensor& t, const Condition& condition) override {
///         return at::conv2d(x, weight_, {}, 1, 1);
///       }
///      ...
class Backbone : public Module {
 public:
  using Interface = Backbone;
  static constexpr std::string_view kind = "backbone";
  static constexpr int interface_version = 2;

  /// What the head asks for. The constructor throws ConfigError when the options cannot serve
  /// it (an attention resolution that never occurs, channels that do not split into groups).
  struct Spec {
    ImageShape image = {};  ///< of the input x
    std::int64_t out_channels = 3;
    ConditionInfo condition = {};
    std::uint64_t seed = 0;  ///< of the weights' initialisation; the global one stays untouched
  };

  ~Backbone() override;

  /// @param x  [B, C, H, W], floating point.
  /// @param t  [B], floating point: NoiseScheduler::network_time, for a schedule of betas the timestep counted from 0
  ///           in the unspaced schedule (0 is the least noise, T-1 the most); may be fractional in sampling.
  /// @return   [B, out_channels, H, W], same dtype as x (autocast may lower it).
  virtual Tensor forward(const Tensor& x, const Tensor& t, const Condition& condition) = 0;

  /// The inner features it can hand out; none by default.
  virtual std::vector<TapInfo> taps() const { return {}; }

  /// `forward`, and the taps of these names, which are computed only here. Gradients flow through them.
  /// The default serves backbones without taps. Throws Error when a tap does not exist.
  virtual BackboneOutput forward_with_taps(const Tensor& x, const Tensor& t, const Condition& condition,
                                           const std::vector<std::string>& names);
};

/// Throws ConfigError that names the closest one when `backbone` lacks one of the taps.
void require_taps(const Backbone& backbone, const std::vector<std::string>& names);

}  // namespace casdm
