#include <ATen/ATen.h>

#include "casdm/augmentation.h"
#include "casdm/testing.h"

using casdm::testing::check;
using casdm::testing::make;

int main() {
  const casdm::Augmentation::Spec spec{casdm::ImageShape::square(3, 8)};
  const at::Tensor images = at::ones({4, 3, 8, 8});
  const std::vector<std::uint64_t> seeds = {1, 2, 3, 4};

  const casdm::Augmented never =
      make<casdm::Augmentation>("template_name", casdm::Value::Table{{"p", 0.0}}, spec)->apply(images, seeds);
  check(never.images.equal(images) && never.labels.equal(at::zeros({4, 3})), "at p = 0 nothing happens");

  const auto augmentation =
      make<casdm::Augmentation>("template_name", casdm::Value::Table{{"p", 1.0}, {"part", 0.5}}, spec);
  const casdm::Augmented always = augmentation->apply(images, seeds);
  for (std::int64_t i = 0; i < 4; ++i) {
    const auto x = always.labels[i][1].item<double>() * 8;
    const auto y = always.labels[i][2].item<double>() * 8;
    at::Tensor expected = images[i].clone();
    expected.narrow(1, static_cast<std::int64_t>(y), 4).narrow(2, static_cast<std::int64_t>(x), 4).fill_(-1);
    check(always.images[i].equal(expected), "the square is where the labels say");
  }
  check(images.equal(at::ones({4, 3, 8, 8})), "the images it was given stay");
  check(augmentation->apply(images.narrow(0, 2, 1), {3}).images[0].equal(always.images[2]),
        "an image depends on its seed alone");
  return casdm::testing::result();
}
