#pragma once

#include <memory>
#include <string>
#include <vector>

#include "casdm/feature_extractor.h"
#include "casdm/metric_loss.h"
#include "casdm/options.h"

namespace casdm::metric_compose {

struct FeatureDistanceOptions {
  ComponentConfig extractor;
  std::vector<std::string> layers;
  std::vector<double> layer_weights;
  std::string distance = "l2";
  bool unit_length = true;
  std::int64_t seed = 0;

  static void describe(Schema<FeatureDistanceOptions>& s);
};

/// The distance between features f_k of two images in an extractor, at the layers k. With n(f) = f / sqrt(|f|^2 +
/// 1e-10) at each position, as in LPIPS, or f itself:
///
///     l2      sum_k w_k mean_places sum_channels (n(f_k(x)) - n(f_k(y)))^2     (mean over channels where n(f) = f)
///     l1      the same with absolute differences
///     cosine  sum_k w_k mean_places (1 - cos(f_k(x), f_k(y))) = 1/2 of l2 with unit length
class FeatureDistance : public MetricLoss {
 public:
  using Options = FeatureDistanceOptions;

  /// Throws ConfigError if the extractor is not differentiable or does not have these layers.
  FeatureDistance(const Options& options, const Spec& spec);
  NamedTensors buffers() const override { return extractor_->buffers(); }
  void train(bool on) override { extractor_->train(on); }
  MetricInfo info() const override;
  std::vector<Tensor> prepare(const Tensor& target) override;
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;

 private:
  Tensor difference(const Tensor& a, const Tensor& b) const;

  std::shared_ptr<FeatureExtractor> extractor_;
  std::vector<std::string> layers_;
  std::vector<double> weights_;
  std::string distance_;
  bool unit_length_;
};

}  // namespace casdm::metric_compose
