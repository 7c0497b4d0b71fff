#include "casdm/plugin.h"

#include "dists_loss.h"
#include "perceptual_loss.h"

CASDM_PLUGIN(plugin) {
  using namespace casdm::metric_lpips;
  plugin.describe({.summary = "Perceptual distances between features of trained networks", .licence = "Apache-2.0"});
  plugin.add<LpipsLoss>("lpips", "Learned perceptual image patch similarity (Zhang et al. 2018).");
  plugin.add<StLpipsLoss>("st_lpips", "Shift-tolerant LPIPS (Ghildyal & Liu 2022).");
  plugin.add<DistsLoss>("dists", "Deep image structure and texture similarity (Ding et al. 2020).");
}
