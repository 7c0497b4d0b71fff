#pragma once

#include <optional>
#include <string>
#include <vector>

#include "casdm/metric_loss.h"
#include "casdm/options.h"
#include "trunks/trunk_network.h"

namespace casdm::metric_lpips {

struct DistsOptions {
  std::optional<std::string> weights;
  trunks::MemoryFormat memory_format = trunks::MemoryFormat::auto_;

  static void describe(Schema<DistsOptions>& s);
};

/// Deep image structure and texture similarity (Ding et al. 2020, arXiv 2004.07728). Maps are the image in [0, 1] and
/// VGG16's features at relu1_2, 2_2, 3_3, 4_3, 5_3 with L2 pools between. With means m, variances v and covariance c of
/// a map of x and y over its positions, and learned weights alpha, beta >= 0 that sum to 1 over all maps:
///
///     d(x, y) = 1 - sum alpha (2 m_x m_y + 1e-6) / (m_x^2 + m_y^2 + 1e-6) + beta (2 c + 1e-6) / (v_x + v_y + 1e-6)
///             = sum alpha (m_x - m_y)^2 / (m_x^2 + m_y^2 + 1e-6) + beta mean(((x - m_x) - (y - m_y))^2) / (v_x + v_y +
///             1e-6)
///
/// The second form is the one computed: it is exactly 0 for equal images and avoids differences of large numbers.
class DistsLoss : public MetricLoss {
 public:
  using Options = DistsOptions;

  /// Throws ConfigError for images that are neither RGB nor grey, Error if the weights do not fit.
  DistsLoss(const Options& options, const Spec& spec);

  NamedTensors buffers() const override { return buffers_; }
  MetricInfo info() const override;
  std::vector<Tensor> prepare(const Tensor& target) override;
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;

 private:
  /// The image in [0, 1] and the features, float32 or double.
  std::vector<Tensor> maps(const Tensor& images) const;

  trunks::TrunkNetwork extract_;
  std::vector<std::int64_t> map_channels_;  ///< of the image and each tap
  Tensor alpha_, beta_;                     ///< [1, all channels, 1, 1]
  Tensor mean_, std_;                       ///< [1, 3, 1, 1]
  NamedTensors buffers_;
  std::int64_t minimum_size_;
  std::int64_t channels_;
};

}  // namespace casdm::metric_lpips
