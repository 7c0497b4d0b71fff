#include "framework/data/image_transform.h"

#include <ATen/ATen.h>

namespace casdm {

at::Tensor to_float(const at::Tensor& bytes) { return bytes.to(at::kFloat).div(127.5).sub_(1); }

at::Tensor to_uint8(const at::Tensor& images) {
  return images.to(at::kFloat).add(1).mul_(127.5).clamp_(0, 255).to(at::kByte);
}

}  // namespace casdm
