#pragma once

#include <cstdint>

#include "adm_layout.h"
#include "casdm/value.h"

namespace casdm::unet {

/// config.json of a UNet2DModel with this layout.
/// @param per_head  channels per attention head; -1: a single head everywhere
Value diffusers_config(const AdmLayout& layout, std::int64_t per_head, std::int64_t groups, std::int64_t image_size);

/// The contents of a config.json.
struct DiffusersConfig {
  AdmLayout layout;
  Value options;  ///< those that do not affect shapes, without the attention's order
  std::int64_t image_size = 0;
};

/// Throws Error with every reason if UNetBackbone cannot represent the model.
DiffusersConfig read_diffusers_config(const Value& config);

}  // namespace casdm::unet
