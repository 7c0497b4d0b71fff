#pragma once

#include <cstdint>

#include "framework/config/experiment.h"
#include "framework/distributed/world.h"

namespace casdm {

/// The images of each batch that fall to one process: `count` from the batch's image `first` on, computed in `parts`.
struct BatchShare {
  std::int64_t first;
  std::int64_t count;
  std::int64_t parts;
};

/// Each process has as many. A batch of `train.accumulate` parts is computed in parts that are not larger. Throws
/// WorldConfigError when `train.batch_size` cannot be divided so.
BatchShare share_of_batch(const TrainOptions& train, const World& world);

}  // namespace casdm
