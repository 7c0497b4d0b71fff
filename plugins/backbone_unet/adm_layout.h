#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "casdm/module.h"
#include "casdm/value.h"
#include "state_shapes/state_shapes.h"
#include "unet_layout.h"

/// States of the U-Nets of improved-diffusion and guided-diffusion ("ADM": Dhariwal & Nichol 2021), which UNetBackbone
/// shares, recognised by names and shapes alone.
namespace casdm::unet {

/// The properties of such a network that its shapes show.
struct AdmLayout : UNetLayout {
  std::int64_t channels = 0;  ///< of the time embedding's input
  std::int64_t in_channels = 0;
  bool use_scale_shift_norm = false;
  bool resblock_updown = false;
  bool conv_resample = true;

  bool operator==(const AdmLayout&) const = default;
};

enum class Resample { none, down, up };

/// One part of an `input_blocks.i`, `middle_block` or `output_blocks.i` of the reference.
struct AdmBlock {
  enum class Kind { convolution, residual, attention, resampling };
  Kind kind;
  std::string name;  ///< "input_blocks.1.0"
  std::string peer;  ///< name of the same block in diffusers' UNet2DModel: "down_blocks.0.resnets.0"
  std::int64_t in = 0;
  std::int64_t out = 0;
  Resample resample = Resample::none;  ///< for a residual block or a resampling
  bool has_weights = true;             ///< false: a resampling without a convolution
};

/// Consecutive blocks.
struct AdmStage {
  std::string name;  ///< "input_blocks.1", "middle_block"
  std::vector<AdmBlock> blocks;
};

/// The network's stages in the order of evaluation. The input of each output stage is the last stage's output,
/// concatenated with the output of the last input stage that has not been used yet.
std::vector<AdmStage> stages_of(const AdmLayout& layout);

/// The blocks of all stages.
std::vector<AdmBlock> blocks_of(const AdmLayout& layout);

/// All parameters of a network of this layout.
std::vector<NamedShape> parameters_of(const AdmLayout& layout);

/// The layout of `state`, or nothing if it does not belong to such a network. A state with the layout's first names but
/// not exactly all of its parameters also gives nothing, and `why` says what differs.
std::optional<AdmLayout> recognise_adm(const NamedTensors& state, std::string& why);

/// The layout as options of UNetBackbone.
/// @param image_size  in pixels; 0: unknown, `attention_resolutions` is left out
Value options_of(const AdmLayout& layout, std::int64_t image_size);

/// The options among `options` that change the meaning of weights without affecting shapes, except those without
/// effect: if num_head_channels is given, num_heads has none.
Value unseen_options(const Value& options);

}  // namespace casdm::unet
