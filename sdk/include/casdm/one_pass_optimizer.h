#pragma once

#include <cstddef>
#include <vector>

#include "casdm/optimizer.h"
#include "casdm/weight_shadow.h"

namespace casdm CASDM_API {

/// A moving average of the weights: average = keep average + (1 - keep) weights.
struct WeightAverage {
  Tensor values;  ///< float32 [N], as Optimizer::Spec::weights
  double keep = 1;
};

/// A step with what the host otherwise does before and after it.
struct WholeStep {
  double learning_rate = 0;
  Tensor scale;  ///< float32 [], by which the gradients are to be multiplied; on their device. NaN: see below
  std::vector<WeightAverage> averages;  ///< the first OnePassOptimizer::kMostAverages; the host updates any others
  WeightShadow shadow = {};             ///< of the weights as Optimizer::Spec::weights; only if `writes_shadow`
};

/// An optimiser that can do all of an update in one pass over its memory, which the update's time is spent on. The host
/// calls `whole_step` where it would call `step`.
class OnePassOptimizer : public Optimizer {
 public:
  static constexpr std::size_t kMostAverages = 4;

  ~OnePassOptimizer() override;

  /// The same, up to rounding, as multiplying the gradients by `scale`, `step`, updating the averages with the new
  /// weights, and setting the gradients to 0. False: it has changed nothing, since it cannot on this device, and the
  /// host does all that.
  ///
  /// If `scale` is NaN, the step is not to be taken: gradients become 0, and weights, averages and buffers stay as they
  /// are, including any count of steps. Only the device knows the scale at that time, since the host need not wait for
  /// the losses before it queues the update.
  virtual bool whole_step(const WholeStep& step) = 0;

  /// Whether `whole_step`, where it returns true, writes WholeStep::shadow: the new weights rounded to bf16, or the
  /// present ones if the step is not taken.
  virtual bool writes_shadow() const { return false; }
};

}  // namespace casdm
