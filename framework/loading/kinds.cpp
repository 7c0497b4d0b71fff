#include "framework/loading/kinds.h"

#include <algorithm>

// Only constants of these headers are used: this file belongs to the library that does not need LibTorch.
#include "casdm/augmentation.h"
#include "casdm/backbone.h"
#include "casdm/cascade_head.h"
#include "casdm/dataset.h"
#include "casdm/feature_extractor.h"
#include "casdm/metric_loss.h"
#include "casdm/noise_scheduler.h"
#include "casdm/optimizer.h"
#include "casdm/sampler.h"
#include "casdm/set_metric.h"
#include "casdm/timestep_sampler.h"
#include "casdm/weight_layout.h"

namespace casdm {

namespace {

template <class K>
constexpr Kind row(std::string_view short_name, std::string_view suffix) {
  return {K::kind, K::interface_version, short_name, suffix};
}

}  // namespace

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> rows = {
      row<Augmentation>("augmentation", "Augmentation"),
      row<Backbone>("backbone", "Backbone"),
      row<CascadeHead>("head", "Head"),
      row<Dataset>("dataset", "Dataset"),
      row<FeatureExtractor>("features", "Extractor"),
      row<MetricLoss>("metric", "Loss"),
      row<NoiseScheduler>("noise", "Noise"),
      row<Optimizer>("optimizer", "Optimizer"),
      row<Sampler>("sampler", "Sampler"),
      row<SetMetric>("set_metric", "Metric"),
      row<TimestepSampler>("timesteps", "Timesteps"),
      row<WeightLayout>("layout", "Layout"),
  };
  return rows;
}

const Kind* find_kind(std::string_view name) {
  const auto found = std::find_if(kinds().begin(), kinds().end(), [&](const Kind& kind) { return kind.name == name; });
  return found == kinds().end() ? nullptr : &*found;
}

}  // namespace casdm
