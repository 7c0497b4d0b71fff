#pragma once

#include <string>

#include "adm_layout.h"
#include "casdm/module.h"
#include "options.h"

/// Converts UNetBackbone's weights to and from those of diffusers' UNet2DModel, whose attention has separate q, k and
/// v, so the conversion resolves the order of their channels in `qkv`.
namespace casdm::unet {

/// A model in diffusers' terms.
struct DiffusersModel {
  Value config;  ///< of config.json
  NamedTensors tensors;
};

/// Throws ConfigError with every reason if UNet2DModel cannot represent the network.
DiffusersModel to_diffusers(const AdmLayout& layout, const NamedTensors& state, const UNetOptions& options,
                            std::int64_t image_size);

/// The reverse conversion.
struct AdmModel {
  AdmLayout layout;
  NamedTensors tensors;
  Value options;  ///< those that do not affect shapes; the attention's order is `attention_order`
  std::int64_t image_size = 0;
};

/// @param attention_order  the order to write
/// Throws Error with every reason if these U-Nets cannot represent the model, or if its tensors are not exactly those
/// that its config requires.
AdmModel from_diffusers(const Value& config, const NamedTensors& tensors, AttentionOrder attention_order);

}  // namespace casdm::unet
