#pragma once

#include "casdm/metric_loss.h"
#include "casdm/options.h"
#include "casdm/plugin_registrar.h"

/// Distances computed from the images' local or global structure.
namespace casdm::metric_pixel {

/// mean over elements of |Sx(x) - Sx(y)| + |Sy(x) - Sy(y)| with the Sobel operators Sx, Sy (divided by 8: the slope per
/// pixel), without padding. Insensitive to a constant added to a channel.
class GradientLoss : public MetricLoss {
 public:
  using Options = NoOptions;
  GradientLoss(const Options& /*options*/, const Spec& /*spec*/) {}
  MetricInfo info() const override { return {.minimum_size = 3, .input_range = std::nullopt}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;
};

struct EdgeOptions {
  double sigma = 1.0;

  static void describe(Schema<EdgeOptions>& s);
};

/// mean over positions of | m(x) - m(y) |, m = sqrt(sum over channels of (Sx(g))^2 + (Sy(g))^2 + 1e-6) the edge
/// strength of g, the image x blurred by a Gaussian, Sx and Sy as for GradientLoss; no padding. Insensitive to a
/// constant added to a channel and to the sign of edges.
class EdgeLoss : public MetricLoss {
 public:
  using Options = EdgeOptions;
  EdgeLoss(const Options& options, const Spec& spec);
  MetricInfo info() const override;
  NamedTensors buffers() const override;
  std::vector<Tensor> prepare(const Tensor& target) override { return {strength(target)}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;

 private:
  /// [B, C, H, W] -> [B, H - r, W - r], r = info().minimum_size - 1
  Tensor strength(const Tensor& images) const;

  Tensor blur_;  ///< [k]; undefined: none
};

struct SpectralOptions {
  bool logarithmic = false;

  static void describe(Schema<SpectralOptions>& s);
};

/// mean over frequencies of | |F(x)| - |F(y)| |, F the orthonormal 2-D Fourier transform of each channel; or of the
/// difference of log(1 + |F|). Insensitive to phase, and so to cyclic shifts.
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
