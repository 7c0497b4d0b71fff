#include "image_draw.h"

#include <cmath>
#include <numbers>
#include <string_view>

#include "casdm/random.h"

namespace casdm::augmentation_edm {

namespace {

using std::numbers::pi;

/// The random numbers for one transformation of one image.
class Stream {
 public:
  Stream(std::uint64_t seed, std::string_view name) : seed_(seed), name_(name) {}

  bool happens(double chance) const { return number(0) < chance; }
  double number(std::uint64_t index) const { return uniform(derive_seed(seed_, name_, index)); }
  double symmetric(std::uint64_t index) const { return 2 * number(index) - 1; }
  /// N(0, 1) from the numbers `index` and `index + 1` (Box & Muller 1958).
  double normal(std::uint64_t index) const {
    return std::sqrt(-2 * std::log(1 - number(index))) * std::cos(2 * pi * number(index + 1));
  }

 private:
  std::uint64_t seed_;
  std::string_view name_;
};

void draw_pixels(const EdmAugmentationOptions& options, std::uint64_t seed, std::int64_t image_size, ImageDraw& draw) {
  const Stream xflip(seed, "xflip"), yflip(seed, "yflip"), turn(seed, "rotate_int"), shift(seed, "translate_int");
  draw.is_x_flipped = xflip.happens(options.xflip * options.p) && xflip.number(1) < 0.5;
  draw.is_y_flipped = yflip.happens(options.yflip * options.p) && yflip.number(1) < 0.5;
  if (turn.happens(options.rotate_int * options.p)) draw.quarter_turns = static_cast<std::int64_t>(4 * turn.number(1));
  if (shift.happens(options.translate_int * options.p)) {
    const double most = static_cast<double>(image_size) * options.translate_int_max;
    draw.pixel_shift = {std::llrint(shift.symmetric(1) * most), std::llrint(shift.symmetric(2) * most)};
  }
}

void draw_geometry(const EdmAugmentationOptions& options, std::uint64_t seed, ImageDraw& draw) {
  const Stream scale(seed, "scale"), turn(seed, "rotate_frac"), aniso(seed, "aniso"), shift(seed, "translate_frac");
  if (scale.happens(options.scale * options.p)) draw.scale = scale.normal(1);
  if (turn.happens(options.rotate_frac * options.p)) draw.angle = turn.symmetric(1) * pi * options.rotate_frac_max;
  if (aniso.happens(options.aniso * options.p)) {
    draw.aniso = aniso.normal(1);
    if (aniso.number(4) < options.aniso_rotate_prob) draw.aniso_angle = aniso.symmetric(3) * pi;
  }
  if (shift.happens(options.translate_frac * options.p)) draw.shift = {shift.normal(1), shift.normal(3)};
}

void draw_colour(const EdmAugmentationOptions& options, std::uint64_t seed, ImageDraw& draw) {
  const Stream brightness(seed, "brightness"), contrast(seed, "contrast"), lumaflip(seed, "lumaflip");
  const Stream hue(seed, "hue"), saturation(seed, "saturation");
  if (brightness.happens(options.brightness * options.p)) draw.brightness = brightness.normal(1);
  if (contrast.happens(options.contrast * options.p)) draw.contrast = contrast.normal(1);
  draw.is_luma_flipped = lumaflip.happens(options.lumaflip * options.p) && lumaflip.number(1) < 0.5;
  if (hue.happens(options.hue * options.p)) draw.hue = hue.symmetric(1) * pi * options.hue_max;
  if (saturation.happens(options.saturation * options.p)) draw.saturation = saturation.normal(1);
}

template <std::size_t N>
using Matrix = std::array<std::array<double, N>, N>;

template <std::size_t N>
Matrix<N> operator*(const Matrix<N>& a, const Matrix<N>& b) {
  Matrix<N> result{};
  for (std::size_t i = 0; i < N; ++i) {
    for (std::size_t j = 0; j < N; ++j) {
      for (std::size_t k = 0; k < N; ++k) result[i][j] += a[i][k] * b[k][j];
    }
  }
  return result;
}

Matrix3 scaling(double x, double y) { return {{{x, 0, 0}, {0, y, 0}, {0, 0, 1}}}; }
Matrix3 translation(double x, double y) { return {{{1, 0, x}, {0, 1, y}, {0, 0, 1}}}; }
Matrix3 rotation(double angle) {
  const double c = std::cos(angle);
  const double s = std::sin(angle);
  return {{{c, -s, 0}, {s, c, 0}, {0, 0, 1}}};
}

/// A linear map of colours that treats all channels alike: `grey` times the component along (1, 1, 1), `chroma` times
/// the component perpendicular to it, and `twist` times that component rotated by 90 degrees.
Matrix4 about_grey_axis(double grey, double chroma, double twist) {
  Matrix4 result{};
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 3; ++j) {
      const double turned = i == j ? 0 : ((i + 1) % 3 == j ? -1 : 1) / std::numbers::sqrt3;
      result[i][j] = grey / 3 + chroma * ((i == j ? 1.0 : 0.0) - 1.0 / 3) + twist * turned;
    }
  }
  result[3][3] = 1;
  return result;
}

Matrix4 brighter(double amount) {
  Matrix4 result = about_grey_axis(1, 1, 0);
  for (std::size_t i = 0; i < 3; ++i) result[i][3] = amount;
  return result;
}

}  // namespace

ImageDraw draw_image(const EdmAugmentationOptions& options, std::uint64_t seed, std::int64_t image_size) {
  ImageDraw draw;
  draw_pixels(options, seed, image_size, draw);
  draw_geometry(options, seed, draw);
  draw_colour(options, seed, draw);
  return draw;
}

std::vector<double> labels_of(const EdmAugmentationOptions& options, const ImageDraw& draw, std::int64_t image_size) {
  std::vector<double> labels;
  const auto add = [&](double multiplier, std::initializer_list<double> values) {
    if (multiplier <= 0) return;
    for (const double value : values) labels.push_back(value);
  };
  const double largest_shift = static_cast<double>(image_size) * options.translate_int_max;
  const auto turns = draw.quarter_turns;
  add(options.xflip, {draw.is_x_flipped ? 1.0 : 0.0});
  add(options.yflip, {draw.is_y_flipped ? 1.0 : 0.0});
  add(options.rotate_int, {turns == 1 || turns == 2 ? 1.0 : 0.0, turns == 2 || turns == 3 ? 1.0 : 0.0});
  add(options.translate_int, {static_cast<double>(draw.pixel_shift[0]) / largest_shift,
                              static_cast<double>(draw.pixel_shift[1]) / largest_shift});
  add(options.scale, {draw.scale});
  add(options.rotate_frac, {std::cos(draw.angle) - 1, std::sin(draw.angle)});
  add(options.aniso, {draw.aniso * std::cos(draw.aniso_angle), draw.aniso * std::sin(draw.aniso_angle)});
  add(options.translate_frac, {draw.shift[0], draw.shift[1]});
  add(options.brightness, {draw.brightness});
  add(options.contrast, {draw.contrast});
  add(options.lumaflip, {draw.is_luma_flipped ? 1.0 : 0.0});
  add(options.hue, {std::cos(draw.hue) - 1, std::sin(draw.hue)});
  add(options.saturation, {draw.saturation});
  return labels;
}

Matrix3 geometry_of(const EdmAugmentationOptions& options, const ImageDraw& draw, std::int64_t image_size) {
  const double size = std::exp2(draw.scale * options.scale_std);
  const double stretch = std::exp2(draw.aniso * options.aniso_std);
  const double unit = static_cast<double>(image_size) * options.translate_frac_std;
  return scaling(1 / size, 1 / size) * rotation(draw.angle) * rotation(-draw.aniso_angle) *
         scaling(1 / stretch, stretch) * rotation(draw.aniso_angle) *
         translation(-draw.shift[0] * unit, -draw.shift[1] * unit);
}

Matrix4 colour_of(const EdmAugmentationOptions& options, const ImageDraw& draw) {
  const double contrast = std::exp2(draw.contrast * options.contrast_std);
  return about_grey_axis(1, std::exp2(draw.saturation * options.saturation_std), 0) *
         about_grey_axis(1, std::cos(draw.hue), std::sin(draw.hue)) *
         about_grey_axis(draw.is_luma_flipped ? -1 : 1, 1, 0) * about_grey_axis(contrast, contrast, 0) *
         brighter(draw.brightness * options.brightness_std);
}

}  // namespace casdm::augmentation_edm
