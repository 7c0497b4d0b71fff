#pragma once

#include "casdm/moments_metric.h"
#include "casdm/options.h"
#include "kept_features.h"
#include "moments.h"

namespace casdm::set_metrics {

struct FrechetOptions {
  static void describe(Schema<FrechetOptions>&) {}
};

/// The squared Frechet distance between Gaussians with the two sets' means and covariances (over N - 1). On the pooled
/// features of `inception` it is the FID (Heusel et al. 2017, arXiv 1706.08500), on its spatial features the sFID (Nash
/// et al. 2021, arXiv 2103.03841).
class Frechet : public MomentsMetric {
 public:
  using Options = FrechetOptions;
  Frechet(const Options&, const Spec& spec);
  SetMetricInfo info() const override { return {.scores = {{"frechet"}}}; }
  NamedTensors start() const override { return Moments::none(dimension_); }
  void update(NamedTensors& state, const FeatureBatch& batch) const override { Moments(state).add(batch.features); }
  void merge(NamedTensors& state, const NamedTensors& other) const override { Moments(state).add(Moments(other)); }
  std::vector<Score> compare(const NamedTensors& generated, const NamedTensors& reference) const override;
  NamedTensors from_moments(const casdm::Moments& moments) const override;
  casdm::Moments moments(const NamedTensors& state) const override;

 private:
  std::int64_t dimension_;
};

struct FrechetInfinityOptions {
  Count images = 10000;
  std::int64_t sizes = 5;
  double smallest = 0.2;

  static void describe(Schema<FrechetInfinityOptions>& s);
};

/// The Frechet distance for infinitely many generated images (Chong & Forsyth 2020, arXiv 1911.07023): the estimate
/// from N images exceeds it by about c / N, so a line fitted in 1 / N over several N is evaluated at 0. For the
/// reference, the moments of all its images are used.
class FrechetInfinity : public SetMetric {
 public:
  using Options = FrechetInfinityOptions;
  FrechetInfinity(const Options& options, const Spec& spec);
  SetMetricInfo info() const override;
  NamedTensors start() const override;
  void update(NamedTensors& state, const FeatureBatch& batch) const override;
  void merge(NamedTensors& state, const NamedTensors& other) const override;
  std::vector<Score> compare(const NamedTensors& generated, const NamedTensors& reference) const override;

 private:
  Options options_;
  std::int64_t dimension_;
  std::uint64_t seed_;
  KeptFeatures kept_;
};

}  // namespace casdm::set_metrics
