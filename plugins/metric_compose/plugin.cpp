#include "casdm/plugin.h"

#include "batch_features.h"
#include "decorators.h"
#include "feature_distance.h"

CASDM_PLUGIN(plugin) {
  using namespace casdm::metric_compose;
  plugin.describe({.summary = "Metrics made of other metrics, or of feature extractors", .licence = "Apache-2.0"});
  plugin.add<SumLoss>("sum", "Weighted sum of metrics.");
  plugin.add<ResizedLoss>("resized", "A metric of the images resized.");
  plugin.add<PatchLoss>("patch", "Mean of a metric over patches of the images.");
  plugin.add<FeatureDistance>("feature_distance", "Distance between features of any extractor.");
  plugin.add<FeatureMmd>("feature_mmd",
                         "Maximum mean discrepancy between features of predictions and targets, with a memory.");
  plugin.add<FeatureFrechet>("feature_frechet",
                             "Frechet distance between features of predictions and targets, with a memory.");
}
