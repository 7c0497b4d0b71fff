#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "framework/composition/model.h"
#include "framework/cost/usage_meter.h"
#include "framework/training/training_parts.h"

namespace casdm {

/// The name under which a trial counts what no component computes.
inline constexpr const char* kHostPart = "other";

/// Steps of an experiment with its own networks, metrics and images, to learn what they cost. They begin with metrics
/// that have warmed up; their results are dropped, and nothing is written. What the components say on stderr is not
/// shown, since the training itself says it.
class Trial {
 public:
  /// Creates what the training would. Throws what it would throw.
  explicit Trial(const LoadedExperiment& experiment);
  ~Trial();
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  const TrainingParts& parts() const { return *parts_; }

  /// Takes a step with `batch` images at once and returns its seconds.
  double step(std::int64_t batch, Precision precision);

  /// The sampler's first step of one image, where the training would draw any. Throws what it would throw.
  void try_sampling() const;

  /// What such a step uses.
  struct Usage {
    std::vector<PartUsage> parts;
    std::int64_t peak_bytes = 0;  ///< of tensors made in the step
  };
  Usage metered_step(std::int64_t batch, Precision precision);

 private:
  struct Steps;
  Steps& steps_of(std::int64_t batch, Precision precision);

  LoadedExperiment experiment_;
  std::unique_ptr<TrainingParts> parts_;
  std::map<std::pair<std::int64_t, Precision>, std::unique_ptr<Steps>> steps_;
};

}  // namespace casdm
