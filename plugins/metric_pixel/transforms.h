#pragma once

#include <vector>

#include "casdm/choice.h"
#include "casdm/metric_loss.h"
#include "casdm/options.h"
#include "casdm/plugin_registrar.h"

/// Distances between transform coefficients: weighted linear transforms of the difference between the images.
namespace casdm::metric_pixel {

/// What is averaged over coefficients: squares or magnitudes.
enum class CoefficientNorm { l2, l1 };

constexpr auto choices_of(CoefficientNorm) {
  using enum CoefficientNorm;
  return choices<CoefficientNorm>({{l2, "l2"}, {l1, "l1"}});
}

struct DctOptions {
  std::int64_t quality = 85;
  bool luminance = true;
  CoefficientNorm norm = CoefficientNorm::l2;

  static void describe(Schema<DctOptions>& s);
};

/// mean over coefficients of w c^2 (or w |c|), c the orthonormal DCT-II of 8x8 blocks of x - y, and w = 1 / q scaled to
/// a mean of 1, q JPEG's table for this quality: what JPEG would round away has little weight. Three channels are first
/// converted to Y, Cb, Cr (ITU-T T.871), with the tables of luminance and chrominance (ITU-T T.81, annex K). Incomplete
/// blocks are filled by repeating the last pixels.
class DctLoss : public MetricLoss {
 public:
  using Options = DctOptions;
  DctLoss(const Options& options, const Spec& spec);
  MetricInfo info() const override { return {.input_range = std::nullopt}; }
  NamedTensors buffers() const override { return {{"basis", basis_}, {"weight", weight_}, {"colour", colour_}}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;

 private:
  CoefficientNorm norm_;
  Tensor basis_;   ///< [64, 1, 8, 8]
  Tensor weight_;  ///< [channels, 64]
  Tensor colour_;  ///< [channels, channels]
};

struct WaveletOptions {
  std::int64_t levels = 3;
  std::vector<double> level_weights;
  CoefficientNorm norm = CoefficientNorm::l1;

  static void describe(Schema<WaveletOptions>& s);
};

/// sum over levels k of w_k / (C H W) times the sum of |c| (or c^2) of the details at level k of the orthonormal Haar
/// transform of x - y, and of the remaining means, with the last weight. If a level needs an even size, images are
/// extended by repeating their last pixels.
class WaveletLoss : public MetricLoss {
 public:
  using Options = WaveletOptions;
  WaveletLoss(const Options& options, const Spec& spec);
  MetricInfo info() const override;
  NamedTensors buffers() const override { return {{"haar", haar_}}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;

 private:
  std::int64_t levels_;
  std::vector<double> weights_;  ///< details from fine to coarse, then the remaining means
  CoefficientNorm norm_;
  Tensor haar_;  ///< [4, 1, 2, 2]: mean first
};

}  // namespace casdm::metric_pixel
