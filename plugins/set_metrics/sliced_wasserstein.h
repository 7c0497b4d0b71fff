#pragma once

#include "casdm/options.h"
#include "kept_features.h"

namespace casdm::set_metrics {

struct SlicedWassersteinOptions {
  std::int64_t directions = 256;
  Count images = 10000;

  static void describe(Schema<SlicedWassersteinOptions>& s);
};

/// The sliced Wasserstein distance (Rabin et al. 2012): features are projected onto random directions of length 1. The
/// distance is the root of the mean over directions of the projections' squared 2-Wasserstein distance, which is the
/// integral of the squared difference of their quantiles. The sets may differ in size.
class SlicedWasserstein : public SetMetric {
 public:
  using Options = SlicedWassersteinOptions;
  SlicedWasserstein(const Options& options, const Spec& spec);
  SetMetricInfo info() const override;
  NamedTensors start() const override { return kept_.none(); }
  void update(NamedTensors& state, const FeatureBatch& batch) const override;
  void merge(NamedTensors& state, const NamedTensors& other) const override { kept_.merge(state, other); }
  std::vector<Score> compare(const NamedTensors& generated, const NamedTensors& reference) const override;

 private:
  KeptFeatures kept_;  ///< of the projections
  Tensor directions_;  ///< [D, directions] float64
};

}  // namespace casdm::set_metrics
