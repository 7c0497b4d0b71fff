#pragma once

#include "casdm/metric_loss.h"
#include "casdm/options.h"
#include "casdm/plugin_registrar.h"

/// Distances made of the images' local or global structure.
namespace casdm::metric_pixel {

/// mean over elements of |Sx(x) - Sx(y)| + |Sy(x) - Sy(y)| with the Sobel operators Sx, Sy (divided by 8: the
/// slope per pixel), without padding. Blind to a constant added to a channel.
class GradientLoss : public MetricLoss {
 public:
  using Options = NoOptions;
  GradientLoss(const Options& /*options*/, const Spec& /*spec*/) {}
  MetricInfo info() const override { return {.minimum_size = 3, .input_range = std::nullopt}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;
};

struct SpectralOptions {
  bool logarithmic = false;

  static void describe(Schema<SpectralOptions>& s);
};

/// mean over frequencies of | |F(x)| - |F(y)| |, F the orthonormal 2-D Fourier transform of each channel; or of the
/// difference of log(1 + |F|). Blind to phase, and so to cyclic shifts.
class SpectralLoss : public MetricLoss {
 public:
  using Options = SpectralOptions;
  SpectralLoss(const Options& options, const Spec& spec);
  MetricInfo info() const override { return {.input_range = std::nullopt}; }
  std::vector<Tensor> prepare(const Tensor& target) override;
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;

 private:
  /// [B, C, H, W] -> [B, C, H, W/2+1]
  Tensor magnitudes(const Tensor& images) const;

  bool logarithmic_;
};

}  // namespace casdm::metric_pixel
