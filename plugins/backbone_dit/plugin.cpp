#include "casdm/plugin.h"

#include "dit.h"
#include "weight_layouts.h"

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "A transformer that predicts images from images and a time", .licence = "Apache-2.0"});
  plugin.add<casdm::dit::DitBackbone>(
      "dit", "The diffusion transformer (DiT) on patches of pixels, with U-ViT's skips as an option.");
  plugin.add<casdm::dit::DitWeights>("dit", "Weights of DiT's own implementation, whose names are the network's own.");
  plugin.add<casdm::dit::DiffusersDitWeights>("diffusers_dit",
                                              "Weights of a DiTTransformer2DModel of diffusers: a folder.");
}
