#pragma once

#include <cstdint>
#include <vector>

#include "casdm/metric_loss.h"
#include "casdm/options.h"
#include "ssim_window.h"

namespace casdm::metric_ssim {

/// Options of both metrics. Images in [-1, 1] are shifted so that -1 is intensity 0, as SSIM's luminance term requires.
struct SsimOptions {
  double data_range = 2.0;
  std::int64_t kernel_size = 11;
  double kernel_sigma = 1.5;
  double k1 = 0.01;
  double k2 = 0.03;

  static void describe(Schema<SsimOptions>& s);
};

/// 1 - SSIM (Wang et al. 2004): Gaussian window without padding, population variances, mean over places and
/// channels. In [0, 2].
class SsimLoss : public MetricLoss {
 public:
  using Options = SsimOptions;
  SsimLoss(const Options& options, const Spec& spec);
  MetricInfo info() const override;
  NamedTensors buffers() const override { return {{"window", window_}}; }
  std::vector<Tensor> prepare(const Tensor& target) override;
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;

 private:
  Stabilisers stabilisers_;
  Tensor window_;
};

struct MsSsimOptions : SsimOptions {
  std::vector<double> scale_weights = {0.0448, 0.2856, 0.3001, 0.2363, 0.1333};

  static void describe(Schema<MsSsimOptions>& s);
};

/// 1 - MS-SSIM (Wang et al. 2003): the product over scales of contrast-structure, the coarsest scale with luminance,
/// each to the power of its weight; negative factors count as 0. In [0, 1].
///
/// Small images: a scale is used while the image there has at least kernel_size pixels (161 px for all five at 11); the
/// first always is, with the window reduced to the largest odd size that fits and sigma reduced in proportion. The
/// weights of the scales used are rescaled to the sum of all weights.
class MsSsimLoss : public MetricLoss {
 public:
  using Options = MsSsimOptions;
  MsSsimLoss(const Options& options, const Spec& spec);
  MetricInfo info() const override;
  std::vector<Tensor> prepare(const Tensor& target) override;
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;

  NamedTensors buffers() const override { return {{"window", window_}}; }

 private:
  Stabilisers stabilisers_;
  std::vector<double> scale_weights_;  ///< of the scales used, finest first
  Tensor window_;
};

}  // namespace casdm::metric_ssim
