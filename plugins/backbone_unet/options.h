#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "casdm/backbone.h"
#include "casdm/choice.h"
#include "casdm/options.h"
#include "convolution/memory_format.h"

namespace casdm::unet {

/// The most residual blocks per resolution.
constexpr std::int64_t kMostBlocks = 1000;

/// How the channels of q, k, v are laid out in an attention's projection: heads outermost, or q, k, v outermost.
enum class AttentionOrder { legacy, new_ };

constexpr auto choices_of(AttentionOrder) {
  using enum AttentionOrder;
  return choices<AttentionOrder>({{legacy, "legacy"}, {new_, "new"}});
}

/// How 3x3 convolutions are computed on the CPU.
enum class Convolution { auto_, direct };

constexpr auto choices_of(Convolution) {
  using enum Convolution;
  return choices<Convolution>({{auto_, "auto"}, {direct, "direct"}});
}

/// Options of the U-Net of Nichol & Dhariwal 2021 (improved-diffusion) and Dhariwal & Nichol 2021
/// (guided-diffusion, "ADM"). The defaults are DDPM's CIFAR-10 network with scale-shift norms.
struct UNetOptions {
  std::int64_t channels = 128;
  std::vector<double> channel_mult = {1, 2, 2, 2};
  std::int64_t num_res_blocks = 2;
  std::vector<std::int64_t> attention_resolutions = {16};
  std::int64_t num_heads = 1;
  std::int64_t num_head_channels = -1;
  std::int64_t num_heads_upsample = -1;
  AttentionOrder attention_order = AttentionOrder::legacy;
  bool use_scale_shift_norm = true;
  bool resblock_updown = false;
  bool conv_resample = true;
  double dropout = 0.0;
  std::int64_t groups = 32;
  double timestep_scale = 1.0;
  bool checkpoint = false;
  Convolution convolution = Convolution::auto_;
  convolution::MemoryFormat memory_format = convolution::MemoryFormat::auto_;

  static void describe(Schema<UNetOptions>& s);
};

/// One resolution of the U-Net, from the image down.
struct Level {
  std::int64_t channels = 0;
  std::int64_t size = 0;  ///< height and width of its feature maps, in pixels
  bool has_attention = false;
};

/// The resolutions of the network that `options` describe, starting with the image's.
/// Throws ConfigError if the options contradict each other or `spec`; does not create tensors.
std::vector<Level> plan_levels(const UNetOptions& options, const Backbone::Spec& spec);

/// The number of attention heads for `channels`, in the encoder and middle or, if `upsampling`, in the decoder.
std::int64_t attention_heads(const UNetOptions& options, std::int64_t channels, bool upsampling);

}  // namespace casdm::unet
