#pragma once

#include "casdm/feature_extractor.h"
#include "casdm/options.h"

namespace casdm::feature_extractors {

struct RandomPatchesOptions {
  std::int64_t features = 256;
  std::int64_t patch = 5;
  std::int64_t scales = 3;
  double bandwidth = 0.5;

  static void describe(Schema<RandomPatchesOptions>& s);
};

/// Random Fourier features of patches (Rahimi & Recht 2007): with a patch p of n numbers, k = 1..K,
///
///     f_k(p) = sqrt(2) cos(w_k . p / (bandwidth sqrt(n)) + b_k),    w_k ~ N(0, 1)^n,  b_k ~ U(0, 2 pi)
///
/// so the mean of f(p) f(q) over k is about exp(-d^2 / (2 bandwidth^2)), with d the root mean square difference of the
/// patches. Its average over an image describes which patches occur in it. The same features of the image at half the
/// size, and so on, describe larger patches. No weights are read: all random numbers are functions of the seed.
class RandomPatches : public NetworkOf<FeatureExtractor> {
 public:
  using Options = RandomPatchesOptions;

  /// Throws ConfigError if an image is smaller than a patch.
  RandomPatches(const Options& options, const Spec& spec);
  ExtractorInfo info() const override;
  NamedTensors extract(const Tensor& images, const std::vector<std::string>& names) override;

 private:
  /// [B, features, h, w]
  Tensor map(const Tensor& x) const;

  Options options_;
  std::int64_t channels_, scales_;
  Tensor weight_, phase_;
};

}  // namespace casdm::feature_extractors
