#include "casdm/plugin.h"

#include "edm2.h"
#include "unet.h"
#include "weight_layouts.h"

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "U-Nets that predict images from images and a time", .licence = "Apache-2.0"});
  plugin
      .add<casdm::unet::UNetBackbone>(
          "unet", "The U-Net of improved-diffusion and guided-diffusion (ADM), with their state names and options.")
      .recommended();
  plugin.add<casdm::unet::Edm2Backbone>("edm2_unet", "The magnitude-preserving U-Net of EDM2 (Karras et al. 2024).");
  plugin.add<casdm::unet::AdmWeights>(
      "adm", "Weights of improved-diffusion and guided-diffusion, whose names are the U-Net's own.");
  plugin.add<casdm::unet::Edm2Weights>("edm2",
                                       "Weights of EDM2's own implementation, whose names are edm2_unet's own.");
  plugin.add<casdm::unet::DiffusersWeights>("diffusers", "Weights of a UNet2DModel of diffusers: a folder.");
}
