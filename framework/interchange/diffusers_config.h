#pragma once

#include <cstdint>

#include "casdm/value.h"
#include "framework/interchange/adm_layout.h"

namespace casdm {

/// config.json of a UNet2DModel with this layout.
/// @param per_head  channels of a head of attention; -1: one head everywhere
/// @param options   of the network, under guided-diffusion's names; needed is `groups`
Value diffusers_config(const AdmLayout& layout, std::int64_t per_head, const Value& options, std::int64_t image_size);

/// What a config.json tells.
struct DiffusersConfig {
  AdmLayout layout;
  Value options;  ///< those that no shape shows, without the attention's order
  std::int64_t image_size = 0;
};

/// Throws Error with every reason when the U-Nets of guided-diffusion's names cannot express the model.
DiffusersConfig read_diffusers_config(const Value& config);

}  // namespace casdm
