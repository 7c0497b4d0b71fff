#include "casdm/plugin.h"

#include "unet.h"

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "U-Nets that predict images from images and a time", .licence = "Apache-2.0"});
  plugin.add<casdm::unet::UNetBackbone>(
      "unet", "The U-Net of improved-diffusion and guided-diffusion (ADM), with their state names and options.");
}
