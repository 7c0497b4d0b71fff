#include "casdm/plugin.h"

#include "cas_dm_head.h"
#include "consistency_head.h"
#include "dual_head.h"
#include "edm_head.h"
#include "single_head.h"

CASDM_PLUGIN(plugin) {
  using namespace casdm::head_diffusion;
  plugin.describe({.summary = "Cas-DM and the diffusion models it is compared with", .licence = "Apache-2.0"});
  plugin
      .add<CasDmHead>("cascade",
                      "Cas-DM: theta predicts the noise, phi cleans the image that this noise implies, and the metric "
                      "trains phi alone (An et al. 2024).")
      .recommended();
  plugin.add<ConsistencyHead>(
      "consistency",
      "One step from noise to image: a network meets its own running average, which is nearer to "
      "the image (Song et al. 2023).");
  plugin.add<DualHead>("dual",
                       "One network predicts the noise, the clean image and a gate between them (Benny & Wolf 2022).");
  plugin.add<EdmHead>("edm",
                      "EDM: one network whose input and output are scaled by the noise level, weighted by a learned "
                      "uncertainty (Karras et al. 2022, 2024).");
  plugin.add<SingleHead>("single",
                         "DDPM: one network predicts the noise, the clean image, v or a velocity (Ho et al. 2020).");
}
