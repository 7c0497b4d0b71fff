#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "casdm/api.h"
#include "casdm/loss_term.h"
#include "casdm/module.h"
#include "casdm/noise_scheduler.h"
#include "casdm/options.h"

namespace casdm CASDM_API {

/// The times of a batch, and each image's factor in the objective.
struct TimestepDraw {
  std::vector<double> t;       ///< within first..last of the path; whole numbers where it has no others
  std::vector<double> weight;  ///< 1 for a plain draw; q(t) / p(t) keeps the objective of uniform t, density q
};

/// Chooses the times that a network is trained at.
///
/// The host draws the random numbers, each a function of the run's seed and the image's position in the run, so two
/// experiments with one seed see the same t. What is learned from the losses is a buffer (casdm/module.h): it is
/// saved in checkpoints, and stays on the CPU. One thread calls it at a time, without gradient.
class TimestepSampler : public Module {
 public:
  using Interface = TimestepSampler;
  static constexpr std::string_view kind = "timestep_sampler";
  static constexpr int interface_version = 2;

  struct Spec {
    std::shared_ptr<const NoiseScheduler> schedule;  ///< never null
  };

  ~TimestepSampler() override;

  /// @param u  one number in [0, 1) per image of the batch, independent and uniform
  /// @return   one entry per image, each a function of u and of the buffers alone
  virtual TimestepDraw draw(const std::vector<double>& u) const = 0;

  /// Called after each batch, and before the next `draw` if there are buffers.
  /// @param t      float64 [B] on the CPU, what `draw` returned
  /// @param terms  of the objective, with values [B] on the CPU without the draw's weights; a metric that has no part
  ///               in this batch (`every`, `until_images`) has the weight 0 and values of 0
  virtual void observe(const Tensor& /*t*/, const std::vector<LossTerm>& /*terms*/) {}
};

}  // namespace casdm
