#pragma once

#include <cstdint>
#include <functional>

namespace casdm {

/// Work that a training does now and then, between two steps.
struct Periodic {
  std::int64_t every = 0;  ///< images; 0: never during the training
  bool at_end = true;      ///< once more when the training is complete
  std::function<void()> work;

  /// Whether it is due after a step from `before` to `images` of `total` images: if the step reached or passed a
  /// multiple of `every`, and at the end.
  bool is_due(std::int64_t before, std::int64_t images, std::int64_t total) const {
    if (images >= total) return at_end;
    return every > 0 && images / every > before / every;
  }
};

}  // namespace casdm
