#include "casdm/plugin.h"

#include "edm_path.h"
#include "flow_path.h"

CASDM_PLUGIN(plugin) {
  using namespace casdm::noise_continuous;
  plugin.describe({.summary = "Paths from image to noise in continuous time", .licence = "Apache-2.0"});
  plugin.add<FlowPath>("flow", "Rectified flow: a straight line from image to noise (Liu et al. 2023).");
  plugin.add<EdmPath>("edm", "EDM: noise of growing standard deviation is added to the image (Karras et al. 2022).");
}
