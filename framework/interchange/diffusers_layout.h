#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "casdm/module.h"
#include "casdm/value.h"
#include "framework/interchange/adm_layout.h"

/// The U-Nets of guided-diffusion's names as diffusers' UNet2DModel: a folder of config.json and
/// diffusion_pytorch_model.safetensors. Its attention keeps q, k and v apart, so the order of their channels in `qkv`
/// is settled on the way.
namespace casdm {

/// A model in diffusers' terms.
struct DiffusersModel {
  Value config;  ///< of config.json
  NamedTensors tensors;
};

/// @param options  of the network, under guided-diffusion's names; needed are attention_order,
///                 num_head_channels (or num_heads and num_heads_upsample), groups and timestep_scale
/// Throws ConfigError with every reason when UNet2DModel cannot express the network.
DiffusersModel to_diffusers(const AdmLayout& layout, const NamedTensors& state, const Value& options,
                            std::int64_t image_size);

/// The other way.
struct AdmModel {
  AdmLayout layout;
  NamedTensors tensors;
  Value options;  ///< those that no shape shows; the attention's order is `attention_order`
  std::int64_t image_size = 0;
};

/// @param attention_order  "legacy" or "new": what to write
/// Throws Error with every reason when the model is none that these U-Nets can express, or its tensors are not exactly
/// those that its config asks for.
AdmModel from_diffusers(const DiffusersModel& model, const std::string& attention_order);

/// Whether `path` is a folder of diffusers' layout.
bool is_diffusers_folder(const std::filesystem::path& path);

/// Throws Error naming the file that is missing or damaged.
DiffusersModel read_diffusers(const std::filesystem::path& folder);

/// Writes a new folder, whole or not at all; into an existing one, file by file.
void write_diffusers(const std::filesystem::path& folder, const DiffusersModel& model);

}  // namespace casdm
