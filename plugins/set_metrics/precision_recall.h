#pragma once

#include "casdm/options.h"
#include "kept_features.h"

namespace casdm::set_metrics {

struct PrecisionRecallOptions {
  std::int64_t neighbours = 3;
  Count images = 10000;

  static void describe(Schema<PrecisionRecallOptions>& s);
};

/// Fidelity and diversity, measured separately. Each image of a set has a ball that reaches to its k-th nearest
/// neighbour in that set.
///
///     precision  fraction of the generated images that are in a ball of the reference
///     recall     fraction of the reference images that are in a ball of the generated set
///     density    number of the reference's balls that contain a generated image, divided by k: may exceed 1
///     coverage   fraction of the reference's balls that contain a generated image
///
/// Precision and recall: Kynkäänniemi et al. 2019 (arXiv 1904.06991); density and coverage: Naeem et al. 2020 (arXiv
/// 2002.09797). Balls are closed, as in the first paper. Distances are Euclidean, in float64, computed in blocks.
class PrecisionRecall : public KeepsFeatures {
 public:
  using Options = PrecisionRecallOptions;
  PrecisionRecall(const Options& options, const Spec& spec);
  SetMetricInfo info() const override;
  std::vector<Score> compare(const NamedTensors& generated, const NamedTensors& reference) const override;

 private:
  Options options_;
};

}  // namespace casdm::set_metrics
