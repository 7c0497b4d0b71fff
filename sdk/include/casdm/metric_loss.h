#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "casdm/api.h"
#include "casdm/component.h"
#include "casdm/image_shape.h"
#include "casdm/module.h"

namespace casdm CASDM_API {

/// What a metric declares about itself; checked by the conformance tests.
struct MetricInfo {
  double lowest = 0.0;                                       ///< smallest possible value
  double highest = std::numeric_limits<double>::infinity();  ///< largest possible value
  std::int64_t minimum_size = 1;                             ///< pixels: smaller height or width is refused by the host
  std::int64_t channels = 0;                                 ///< number of channels it needs; 0: any
  bool is_symmetric = true;                                  ///< d(a, b) == d(b, a)
  bool is_zero_at_identity = true;                           ///< d(a, a) == lowest
  /// Pixel values it is made for, lowest and highest; nullopt: any. When the experiment's `input_range` feeds it
  /// another range, the host warns the user.
  std::optional<std::array<double, 2>> input_range = {{-1.0, 1.0}};
  /// Whether each image has its own distance. Else the metric compares the batch as a whole: `distance` returns
  /// one number, [1], and the batch must not be cut into parts.
  bool is_per_image = true;
  /// Whether it remembers (a queue, a running mean): its buffers are saved in checkpoints and restored.
  bool has_state = false;
};

/// Where in the training, and at which noise, two batches are compared. Tensors are [B] of the images compared.
struct MetricContext {
  Tensor t = {};                          ///< of the path; undefined outside a training
  Tensor log_snr = {};                    ///< float64; undefined likewise
  Tensor labels = {};                     ///< int64; undefined without labels
  std::vector<std::uint64_t> seeds = {};  ///< one per image, for what the metric draws; empty outside a training
  std::int64_t step = 0;                  ///< of the run, from 1
  std::int64_t images_seen = 0;           ///< by the run before this batch
  std::int64_t total_images = 0;          ///< that the run will see
  bool is_training = false;               ///< false: what is remembered must not change
};

/// A distance between a predicted and a true image, used as a training loss: lower is better.
///
/// Both are float tensors [B, C, H, W] in [-1, 1], or in the `input_range` of the experiment; predictions may leave
/// that range at high noise levels, and a metric must neither assert on it nor return anything infinite. Gradients flow
/// to the prediction alone; a metric's own weights are buffers, not parameters, and change only where it has state.
/// Values and gradients must be finite everywhere, at identity and on constant images too. One thread calls it at a
/// time. It must not touch the global generator or grad mode.
class MetricLoss : public Module {
 public:
  using Interface = MetricLoss;
  static constexpr std::string_view kind = "metric_loss";
  static constexpr int interface_version = 2;

  struct Spec {
    ImageShape image = {};                      ///< after the host's resize
    const ComponentFactory* factory = nullptr;  ///< for metrics made of metrics
  };

  ~MetricLoss() override;

  virtual MetricInfo info() const = 0;

  /// Whatever can be computed from the target alone; called without gradient, once a batch.
  /// The default keeps the target itself.
  virtual std::vector<Tensor> prepare(const Tensor& target);

  /// @param prediction  [B, C, H, W]
  /// @param target      what `prepare` returned for the same images
  /// @return            [B], one distance per image (mean over its elements where the metric is one); [1] where
  ///                    info().is_per_image is false
  virtual Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) = 0;

  /// The same for metrics that need to know the noise level, the labels or the step; `distance` by default.
  virtual Tensor distance_in(const Tensor& prediction, const std::vector<Tensor>& target, const MetricContext& context);

  /// prepare and distance_in in one.
  Tensor operator()(const Tensor& prediction, const Tensor& target, const MetricContext& context = {});
};

}  // namespace casdm
