#pragma once

#include <memory>
#include <string>
#include <vector>

#include "casdm/choice.h"
#include "casdm/feature_extractor.h"
#include "casdm/metric_loss.h"
#include "casdm/options.h"

/// Distances between the distributions of features of predictions and of targets.
namespace casdm::metric_compose {

struct BatchFeatureOptions {
  ComponentConfig extractor;
  std::string feature;
  std::int64_t queue = 256;
  std::int64_t seed = 0;
};

/// Weighted features: rows [N, D], first those of the batch, then the remembered ones, and weights [N] that add up
/// to 1.
struct FeatureSample {
  Tensor features;
  Tensor weights;
  std::int64_t batch = 0;  ///< rows of it

  FeatureSample part(std::int64_t first, std::int64_t count) const {
    return {features.narrow(0, first, count), weights.narrow(0, first, count), 0};
  }
  FeatureSample current() const { return part(0, batch); }
  FeatureSample remembered() const { return part(batch, weights.size(0) - batch); }
};

/// A batch is too small to represent a distribution, so the features of the last `queue` images, of predictions and of
/// targets, are remembered and belong to the samples. Gradients flow only through the batch, which is the newest part.
/// Spatial features are averaged over positions.
class BatchFeatureLoss : public NetworkOf<MetricLoss> {
 public:
  void train(bool on) override { extractor_->train(on); }
  NamedTensors buffers() const override;
  MetricInfo info() const override;
  std::vector<Tensor> prepare(const Tensor& target) override;
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;
  Tensor distance_in(const Tensor& prediction, const std::vector<Tensor>& target,
                     const MetricContext& context) override;

 protected:
  /// Throws ConfigError if the extractor is not differentiable or does not have this feature.
  BatchFeatureLoss(const BatchFeatureOptions& options, const Spec& spec);

 private:
  /// The distance between two samples, in float64: [].
  virtual Tensor between(const FeatureSample& predictions, const FeatureSample& targets) const = 0;

  Tensor features_of(const Tensor& images) const;
  FeatureSample sample(const Tensor& batch, const Tensor& remembered) const;

  std::shared_ptr<FeatureExtractor> extractor_;
  std::string feature_;
  Tensor predictions_, targets_;  ///< [queue, D], the newest first
  Tensor is_filled_;              ///< [queue], 1 where there is an image
};

/// The kernel of the maximum mean discrepancy.
enum class Kernel { polynomial, rbf };

constexpr auto choices_of(Kernel) {
  using enum Kernel;
  return choices<Kernel>({{polynomial, "polynomial"}, {rbf, "rbf"}});
}

struct FeatureMmdOptions : BatchFeatureOptions {
  Kernel kernel = Kernel::polynomial;
  double bandwidth = 1.0;

  static void describe(Schema<FeatureMmdOptions>& s);
};

/// The squared maximum mean discrepancy (Gretton et al. 2012), with all pairs: E k(x, x') + E k(y, y') - 2 E k(x, y),
/// k(a, b) = (a.b / D + 1)^3 (Binkowski et al. 2018), or exp(-|a - b|^2 / (2 h^2 m)), with m the mean squared distance
/// between two targets and h the bandwidth. Memory grows in proportion to the queue, time with its square.
class FeatureMmd final : public BatchFeatureLoss {
 public:
  using Options = FeatureMmdOptions;
  FeatureMmd(const Options& options, const Spec& spec)
      : BatchFeatureLoss(options, spec), kernel_(options.kernel), bandwidth_(options.bandwidth) {}
  MetricInfo info() const override;

 private:
  Tensor between(const FeatureSample& predictions, const FeatureSample& targets) const override;

  Kernel kernel_;
  double bandwidth_;
};

struct FeatureFrechetOptions : BatchFeatureOptions {
  static void describe(Schema<FeatureFrechetOptions>& s);
};

/// The Frechet distance between normal distributions with the samples' moments (Dowson & Landau 1982): |m_x - m_y|^2 +
/// tr(C_x + C_y - 2 (C_x C_y)^(1/2)). With X and Y the centred samples, the last trace is the sum of the singular
/// values of X Y^T, whose gradient is finite everywhere. With X = Q R and Y = Q' R' they are those of R R'^T, which has
/// at most as many rows as there are features.
class FeatureFrechet final : public BatchFeatureLoss {
 public:
  using Options = FeatureFrechetOptions;
  FeatureFrechet(const Options& options, const Spec& spec) : BatchFeatureLoss(options, spec) {}

 private:
  Tensor between(const FeatureSample& predictions, const FeatureSample& targets) const override;
};

}  // namespace casdm::metric_compose
