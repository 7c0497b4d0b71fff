#include "input_check.h"

#include <ATen/ATen.h>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::unet {

void check_input(const Tensor& x, const Tensor& t, const Condition& condition, const Backbone::Spec& spec,
                 std::int64_t factor) {
  if (x.dim() != 4 || x.size(1) != spec.image.channels || x.size(2) % factor != 0 || x.size(3) % factor != 0) {
    throw Error(text("the U-Net takes images [B, ", spec.image.channels, ", H, W] with H and W multiples of ", factor,
                     ", got ", x.sizes()));
  }
  if (t.dim() != 1 || t.size(0) != x.size(0)) {
    throw Error(text("the U-Net takes one timestep per image: expected t of [", x.size(0), "], got ", t.sizes()));
  }
  if (condition.labels.defined() != (spec.condition.num_classes > 0)) {
    throw Error(condition.labels.defined()
                    ? "the U-Net is unconditional (num_classes = 0), but was given labels"
                    : text("the U-Net has ", spec.condition.num_classes, " classes, but was given no labels"));
  }
  const Tensor& augment = condition.augment;
  if (augment.defined() &&
      (augment.dim() != 2 || augment.size(0) != x.size(0) || augment.size(1) != spec.condition.augment_size)) {
    throw Error(text("the U-Net takes augmentation labels of [", x.size(0), ", ", spec.condition.augment_size,
                     "], got ", augment.sizes()));
  }
}

}  // namespace casdm::unet
