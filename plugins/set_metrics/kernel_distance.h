#pragma once

#include "casdm/options.h"
#include "kept_features.h"

namespace casdm::set_metrics {

struct KernelDistanceOptions {
  Count images = 10000;
  std::int64_t subsets = 100;
  std::int64_t subset_size = 1000;

  static void describe(Schema<KernelDistanceOptions>& s);
};

/// The kernel distance (Binkowski et al. 2018, arXiv 1801.01401; on `inception` the KID): the unbiased squared maximum
/// mean discrepancy with the kernel (x.y / D + 1)^3, as the mean over random subsets of both sets. As it is unbiased,
/// it is about 0 for two samples of the same distribution, and negative half of the time.
///
/// The standard error is for a new draw of all images, estimated from the variation of the images' contributions. It is
/// not the deviation between the subsets: these share images, so the more of them there are, the less that deviation
/// says.
class KernelDistance : public KeepsFeatures {
 public:
  using Options = KernelDistanceOptions;
  KernelDistance(const Options& options, const Spec& spec);
  SetMetricInfo info() const override;
  std::vector<Score> compare(const NamedTensors& generated, const NamedTensors& reference) const override;

 private:
  Options options_;
  std::uint64_t seed_;
};

struct MmdOptions {
  double bandwidth = 10.0;
  double scale = 1000.0;
  bool unit_length = true;
  bool unbiased = false;
  Count images = 5000;

  static void describe(Schema<MmdOptions>& s);
};

/// The squared maximum mean discrepancy with a Gaussian kernel, times `scale`. The defaults are those of CMMD
/// (Jayasumana et al. 2024, arXiv 2401.09603): features of length 1, bandwidth 10, the mean over all pairs. NaN if the
/// bandwidth is so large that all images look alike in float64, or so small that no two do.
class Mmd : public KeepsFeatures {
 public:
  using Options = MmdOptions;
  Mmd(const Options& options, const Spec& spec);
  SetMetricInfo info() const override;
  std::vector<Score> compare(const NamedTensors& generated, const NamedTensors& reference) const override;

 private:
  Options options_;
};

}  // namespace casdm::set_metrics
