#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "options.h"

namespace casdm::augmentation_edm {

/// Rows of a matrix.
using Matrix3 = std::array<std::array<double, 3>, 3>;
using Matrix4 = std::array<std::array<double, 4>, 4>;

/// What is done to one image; by default nothing.
struct ImageDraw {
  bool is_x_flipped = false;
  bool is_y_flipped = false;
  std::int64_t quarter_turns = 0;                ///< anticlockwise
  std::array<std::int64_t, 2> pixel_shift = {};  ///< to the right, upwards
  double scale = 0;                              ///< log2 of the enlargement, in units of scale_std
  double angle = 0;                              ///< radians
  double aniso = 0;                              ///< log2 of the stretch, in units of aniso_std
  double aniso_angle = 0;                        ///< radians
  std::array<double, 2> shift = {};              ///< in units of translate_frac_std sizes of the image
  double brightness = 0;                         ///< in units of brightness_std
  double contrast = 0;                           ///< log2, in units of contrast_std
  bool is_luma_flipped = false;
  double hue = 0;         ///< radians
  double saturation = 0;  ///< log2, in units of saturation_std

  bool moves_between_pixels() const { return scale != 0 || angle != 0 || aniso != 0 || shift[0] != 0 || shift[1] != 0; }
  bool changes_colour() const {
    return brightness != 0 || contrast != 0 || is_luma_flipped || hue != 0 || saturation != 0;
  }
};

/// The random draw for an image: a function of its seed and the options; each transformation has its own stream.
ImageDraw draw_image(const EdmAugmentationOptions& options, std::uint64_t seed, std::int64_t image_size);

/// The labels that the networks get for `draw`: for each enabled transformation, in order, one number, or two for those
/// in a plane (x and y; cos - 1 and sin of an angle). 0 if nothing was done.
std::vector<double> labels_of(const EdmAugmentationOptions& options, const ImageDraw& draw, std::int64_t image_size);

/// Maps a position in the augmented image to the corresponding position in the original, in homogeneous pixel
/// coordinates from the centre, x to the right and y down:
///
///     S(1/s) R(angle) R(-r) diag(1/a, a) R(r) T(-shift)
Matrix3 geometry_of(const EdmAugmentationOptions& options, const ImageDraw& draw, std::int64_t image_size);

/// Maps a colour (r, g, b, 1) to the new colour.
Matrix4 colour_of(const EdmAugmentationOptions& options, const ImageDraw& draw);

}  // namespace casdm::augmentation_edm
