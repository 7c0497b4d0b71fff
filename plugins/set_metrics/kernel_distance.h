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
/// mean discrepancy with the kernel (x.y / D + 1)^3, as the mean over random subsets of both sets. Unbiased, it lies
/// around 0 for two samples of one distribution, and below 0 half of the time.
///
/// The standard error is that of a new draw of all images: what each image adds varies, over the images seen. It is not
/// the deviation of the subsets, which have images in common and so say less the more of them there are.
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
/// (Jayasumana et al. 2024, arXiv 2401.09603): features of length 1, bandwidth 10, the mean over all pairs. NaN where
/// the bandwidth is so large that all images are alike in float64, or so small that no two are.
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
