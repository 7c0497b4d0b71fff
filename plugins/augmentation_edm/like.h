#pragma once

#include "casdm/on_device.h"

namespace casdm::augmentation_edm {

/// `numbers`, on the CPU, in the type and on the device of `image`; nobody waits for the copy.
inline at::Tensor like(const at::Tensor& numbers, const at::Tensor& image) {
  return to_device(numbers.to(image.scalar_type()), image.device());
}

}  // namespace casdm::augmentation_edm
