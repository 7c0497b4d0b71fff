#pragma once

#include <cstdint>

#include "adm_layout.h"
#include "casdm/value.h"

namespace casdm::unet {

/// config.json of a UNet2DModel with this layout.
/// @param per_head  channels of a head of attention; -1: one head everywhere
Value diffusers_config(const AdmLayout& layout, std::int64_t per_head, std::int64_t groups, std::int64_t image_size);

/// What a config.json tells.
struct DiffusersConfig {
  AdmLayout layout;
  Value options;  ///< those that no shape shows, without the attention's order
  std::int64_t image_size = 0;
};

/// Throws Error with every reason when UNetBackbone cannot express the model.
DiffusersConfig read_diffusers_config(const Value& config);

}  // namespace casdm::unet
