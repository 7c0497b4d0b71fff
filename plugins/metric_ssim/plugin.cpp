#include "casdm/plugin.h"

#include "ssim.h"

CASDM_PLUGIN(plugin) {
  using namespace casdm::metric_ssim;
  plugin.describe({.summary = "Structural similarity", .licence = "Apache-2.0"});
  plugin.add<SsimLoss>("ssim", "1 - structural similarity (Wang et al. 2004).").recommended();
  plugin.add<MsSsimLoss>("ms_ssim", "1 - multi-scale structural similarity (Wang et al. 2003).");
}
