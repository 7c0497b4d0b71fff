#include "casdm/plugin.h"

#include "edm_augmentation.h"

CASDM_PLUGIN(plugin) {
  using namespace casdm::augmentation_edm;
  plugin.describe({.summary = "EDM's augmentation of training images", .licence = "Apache-2.0"});
  plugin.add<EdmAugmentation>("edm", "Flips, turns, scaling, stretching, shifts and colours (Karras et al. 2022).");
}
