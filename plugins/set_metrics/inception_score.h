#pragma once

#include "casdm/options.h"
#include "casdm/set_metric.h"

namespace casdm::set_metrics {

struct InceptionScoreOptions {
  std::string input = "logits";
  std::int64_t split_size = 5000;
  std::int64_t splits = 10;

  static void describe(Schema<InceptionScoreOptions>& s);
};

/// exp of the mean divergence KL(p(class | image) || p(class)) (Salimans et al. 2016, arXiv 1606.03498), as the mean
/// over splits of consecutive images. Image i is in split (i / split_size) mod splits; images of a split with fewer
/// than split_size of them count in the first full one, and if there is none, all are one split. No reference is
/// needed.
///
/// improved-gan and torch-fidelity cut N images evenly into 10 splits. Where all splits are full and equal, this is the
/// same; else no split has fewer than split_size images here, since a smaller one scores lower. guided-diffusion's
/// evaluator takes the last, smaller one for a split like the others.
///
/// The published numbers use `inception`'s logits without the bias of the last layer.
class InceptionScore : public SetMetric {
 public:
  using Options = InceptionScoreOptions;
  InceptionScore(const Options& options, const Spec& spec);
  SetMetricInfo info() const override;
  NamedTensors start() const override;
  void update(NamedTensors& state, const FeatureBatch& batch) const override;
  void merge(NamedTensors& state, const NamedTensors& other) const override;
  std::vector<Score> compare(const NamedTensors& generated, const NamedTensors& reference) const override;

 private:
  Options options_;
  std::int64_t classes_;
};

}  // namespace casdm::set_metrics
