#include "casdm/plugin.h"

#include "decorators.h"

CASDM_PLUGIN(plugin) {
  using namespace casdm::metric_compose;
  plugin.describe({.summary = "Metrics made of other metrics", .licence = "Apache-2.0"});
  plugin.add<SumLoss>("sum", "Weighted sum of metrics.");
  plugin.add<ResizedLoss>("resized", "A metric of the images resized.");
  plugin.add<PatchLoss>("patch", "Mean of a metric over patches of the images.");
}
