#pragma once

#include <string>

#include "adm_layout.h"
#include "casdm/module.h"
#include "options.h"

/// UNetBackbone's weights as those of diffusers' UNet2DModel, whose attention keeps q, k and v apart, so that the order
/// of their channels in `qkv` is settled on the way.
namespace casdm::unet {

/// A model in diffusers' terms.
struct DiffusersModel {
  Value config;  ///< of config.json
  NamedTensors tensors;
};

/// Throws ConfigError with every reason when UNet2DModel cannot express the network.
DiffusersModel to_diffusers(const AdmLayout& layout, const NamedTensors& state, const UNetOptions& options,
                            std::int64_t image_size);

/// The other way.
struct AdmModel {
  AdmLayout layout;
  NamedTensors tensors;
  Value options;  ///< those that no shape shows; the attention's order is `attention_order`
  std::int64_t image_size = 0;
};

/// @param attention_order  what to write
/// Throws Error with every reason when the model is none that these U-Nets can express, or its tensors are not exactly
/// those that its config asks for.
AdmModel from_diffusers(const Value& config, const NamedTensors& tensors, AttentionOrder attention_order);

}  // namespace casdm::unet
