#pragma once

#include <cstdint>

#include "framework/config/experiment.h"
#include "framework/distributed/world.h"

namespace casdm {

/// The part of each batch that one process computes: `count` images, starting with the batch's image `first`, in
/// `parts` parts.
struct BatchShare {
  std::int64_t first;
  std::int64_t count;
  std::int64_t parts;
};

/// Every process gets the same number. Its parts are not larger than those of `train.accumulate`. Throws
/// WorldConfigError if `train.batch_size` cannot be divided in this way.
BatchShare share_of_batch(const TrainOptions& train, const World& world);

}  // namespace casdm
