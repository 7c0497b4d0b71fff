#include "options.h"

namespace casdm::augmentation_edm {

namespace {

using Options = EdmAugmentationOptions;

void describe_pixels(Schema<Options>& s) {
  s.option("xflip", &Options::xflip,
           "Mirror left to right, half of the time. As for all of these, the chance is min(1, this times p).")
      .at_least(0);
  s.option("yflip", &Options::yflip, "Mirror top to bottom, half of the time.").at_least(0);
  s.option("rotate_int", &Options::rotate_int, "Turn by 0, 90, 180 or 270 degrees.").at_least(0);
  s.option("translate_int", &Options::translate_int, "Shift by whole pixels, the border mirrored.").at_least(0);
  s.option("translate_int_max", &Options::translate_int_max, "Largest such shift, as a fraction of the image's size.")
      .greater_than(0)
      .range(0, 1)
      .not_with("translate_int", {0.0});
}

void describe_geometry(Schema<Options>& s) {
  s.option("scale", &Options::scale, "Enlarge by 2^(scale_std w), w ~ N(0, 1).").at_least(0);
  s.option("rotate_frac", &Options::rotate_frac, "Turn by any angle up to rotate_frac_max.").at_least(0);
  s.option("aniso", &Options::aniso, "Stretch by 2^(aniso_std w) along a direction and shrink across it, w ~ N(0, 1).")
      .at_least(0);
  s.option("translate_frac", &Options::translate_frac, "Shift by translate_frac_std w of the size, w ~ N(0, I).")
      .at_least(0);
  s.option("scale_std", &Options::scale_std, "Standard deviation of the enlargement's log2.")
      .at_least(0)
      .not_with("scale", {0.0});
  s.option("rotate_frac_max", &Options::rotate_frac_max, "Largest angle; 1: half a turn to either side.")
      .range(0, 1)
      .not_with("rotate_frac", {0.0});
  s.option("aniso_std", &Options::aniso_std, "Standard deviation of the stretch's log2.")
      .at_least(0)
      .not_with("aniso", {0.0});
  s.option("aniso_rotate_prob", &Options::aniso_rotate_prob,
           "Chance that the stretch has a random direction; else it is horizontal.")
      .range(0, 1)
      .not_with("aniso", {0.0});
  s.option("translate_frac_std", &Options::translate_frac_std,
           "Standard deviation of the shift, in sizes of the image.")
      .at_least(0)
      .not_with("translate_frac", {0.0});
}

void describe_colour(Schema<Options>& s) {
  s.option("brightness", &Options::brightness, "Add brightness_std w to every channel, w ~ N(0, 1).").at_least(0);
  s.option("contrast", &Options::contrast, "Multiply every channel by 2^(contrast_std w), w ~ N(0, 1).").at_least(0);
  s.option("lumaflip", &Options::lumaflip, "Invert brightness but keep the hue, half of the time.").at_least(0);
  s.option("hue", &Options::hue, "Turn the colours about the grey axis by any angle up to hue_max.").at_least(0);
  s.option("saturation", &Options::saturation, "Multiply the distance from grey by 2^(saturation_std w), w ~ N(0, 1).")
      .at_least(0);
  s.option("brightness_std", &Options::brightness_std, "Standard deviation of the brightness.")
      .at_least(0)
      .not_with("brightness", {0.0});
  s.option("contrast_std", &Options::contrast_std, "Standard deviation of the contrast's log2.")
      .at_least(0)
      .not_with("contrast", {0.0});
  s.option("hue_max", &Options::hue_max, "Largest angle of the hue; 1: half a turn to either side.")
      .range(0, 1)
      .not_with("hue", {0.0});
  s.option("saturation_std", &Options::saturation_std, "Standard deviation of the saturation's log2.")
      .at_least(0)
      .not_with("saturation", {0.0});
}

}  // namespace

void EdmAugmentationOptions::describe(Schema<EdmAugmentationOptions>& s) {
  s.option("p", &Options::p, "Chance of each transformation, times its own multiplier below; 0: no augmentation.")
      .range(0, 1);
  describe_pixels(s);
  describe_geometry(s);
  describe_colour(s);
}

}  // namespace casdm::augmentation_edm
