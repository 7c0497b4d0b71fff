#include <ATen/ATen.h>

#include <cmath>

#include "casdm/feature_extractor.h"
#include "casdm/testing.h"

using casdm::testing::check;
using casdm::testing::make;

int main() {
  const auto extractor = make<casdm::FeatureExtractor>("template_name", casdm::Value::Table{{"cells", 2}},
                                                       {.image = casdm::ImageShape::square(3, 8)});
  // The left half is black, the right half white.
  at::Tensor image = at::full({1, 3, 8, 8}, -1.0);
  image.narrow(3, 4, 4).fill_(1);
  const casdm::NamedTensors features = extractor->extract(image, {"colours", "cells"});

  const at::Tensor colours = features.at(0).second;
  check(colours.sizes() == at::IntArrayRef({1, 6}), "three means and three deviations");
  check(colours.narrow(1, 0, 3).abs().max().item<double>() < 1e-6, "the mean of black and white is grey");
  check((colours.narrow(1, 3, 3) - 1).abs().max().item<double>() < 1e-5, "each pixel is 1 away from it");

  const at::Tensor cells = features.at(1).second;
  check(cells.sizes() == at::IntArrayRef({1, 6, 2, 2}), "and the same of each cell");
  check(cells[0][0][0][0].item<double>() < -0.999 && cells[0][0][0][1].item<double>() > 0.999,
        "the cells on the left are black, those on the right are white");
  check(cells.narrow(1, 3, 3).max().item<double>() < 1e-2, "within a cell nothing varies");

  const at::Tensor bytes = ((image + 1) * 127.5).to(at::kByte);
  check(at::allclose(extractor->extract(bytes, {"cells"}).at(0).second, cells), "bytes mean the same as numbers");
  return casdm::testing::result();
}
