#pragma once

#include <cstdint>
#include <vector>

#include "framework/training/checkpoint.h"

namespace casdm {

/// Where a training stands, apart from its tensors.
struct Progression {
  std::int64_t step = 0;            ///< optimiser steps done
  std::int64_t images = 0;          ///< images seen
  std::vector<double> loss_scales;  ///< fp16: see LossScaler
  std::int64_t num_classes = 0;     ///< of the data set; 0: unconditional

  /// As CheckpointContent::numbers, and back. Throws Error, naming the number, when one cannot be.
  Value numbers() const;
  static Progression of(const Checkpoint& checkpoint);
};

}  // namespace casdm
