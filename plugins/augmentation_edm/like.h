#pragma once

#include "casdm/on_device.h"

namespace casdm::augmentation_edm {

/// `numbers`, which are on the CPU, with the dtype and device of `image`; the copy does not block.
inline at::Tensor like(const at::Tensor& numbers, const at::Tensor& image) {
  return to_device(numbers.to(image.scalar_type()), image.device());
}

}  // namespace casdm::augmentation_edm
