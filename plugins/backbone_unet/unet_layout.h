#pragma once

#include <cstdint>
#include <vector>

#include "casdm/value.h"

namespace casdm::unet {

/// The properties that the shapes of both kinds of U-Net show.
struct UNetLayout {
  std::int64_t out_channels = 0;
  std::int64_t num_classes = 0;   ///< 0: unconditional
  std::int64_t augment_size = 0;  ///< of the layer for it, which the references do not have; 0: none
  std::int64_t num_res_blocks = 0;
  std::vector<std::int64_t> widths;  ///< channels of each resolution, from the image down
  std::vector<bool> has_attention;   ///< of each resolution

  bool operator==(const UNetLayout&) const = default;

  /// The options `channels`, `channel_mult`, `num_res_blocks` and `attention_resolutions`.
  /// @param channels      of which `widths` are multiples
  /// @param image_height  in pixels; 0: unknown, so `attention_resolutions` is omitted
  Value options(std::int64_t channels, std::int64_t image_height) const;
};

}  // namespace casdm::unet
