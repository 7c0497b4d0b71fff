#pragma once

#include "casdm/options.h"

namespace casdm::augmentation_edm {

/// For each transformation a multiplier of `p`, with 0 for never; the strengths follow Karras et al. 2022. The defaults
/// are those of EDM's CIFAR-10, FFHQ and AFHQ trainings.
struct EdmAugmentationOptions {
  double p = 0.12;

  double xflip = 1e8;
  double yflip = 1;
  double rotate_int = 0;
  double translate_int = 0;
  double translate_int_max = 0.125;

  double scale = 1;
  double rotate_frac = 1;
  double aniso = 1;
  double translate_frac = 1;
  double scale_std = 0.2;
  double rotate_frac_max = 1;
  double aniso_std = 0.2;
  double aniso_rotate_prob = 0.5;
  double translate_frac_std = 0.125;

  double brightness = 0;
  double contrast = 0;
  double lumaflip = 0;
  double hue = 0;
  double saturation = 0;
  double brightness_std = 0.2;
  double contrast_std = 0.5;
  double hue_max = 1;
  double saturation_std = 1;

  bool has_geometry() const { return scale > 0 || rotate_frac > 0 || aniso > 0 || translate_frac > 0; }
  bool has_colour() const { return brightness > 0 || contrast > 0 || lumaflip > 0 || hue > 0 || saturation > 0; }

  static void describe(Schema<EdmAugmentationOptions>& s);
};

}  // namespace casdm::augmentation_edm
