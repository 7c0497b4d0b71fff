#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include "framework/data/image_transform.h"

using namespace casdm;

TEST_CASE("bytes map to [-1, 1]") {
  const at::Tensor values = to_float(at::tensor({0, 51, 255}, at::kByte));
  CHECK((values.scalar_type() == at::kFloat));
  CHECK(values[0].item<float>() == -1.0F);
  CHECK(values[1].item<float>() == doctest::Approx(-0.6));
  CHECK(values[2].item<float>() == 1.0F);
}

TEST_CASE("samples map to bytes truncated and clamped, as guided-diffusion's do") {
  const at::Tensor bytes = to_uint8(at::tensor({-7.0F, -1.0F, -0.5F, 0.0F, 0.999F, 1.0F, 3.0F}));
  CHECK(at::equal(bytes, at::tensor({0, 0, 63, 127, 254, 255, 255}, at::kByte)));
}

TEST_CASE("to_uint8 inverts to_float within one") {
  const at::Tensor all = at::arange(256, at::kByte);
  const at::Tensor difference = all.to(at::kInt) - to_uint8(to_float(all)).to(at::kInt);
  CHECK(difference.min().item<int>() >= 0);
  CHECK(difference.max().item<int>() <= 1);
}
