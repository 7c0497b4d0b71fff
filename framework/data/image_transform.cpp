#include "framework/data/image_transform.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm {

namespace {

/// A resampling filter: zero outside [-support, support].
struct Filter {
  double support;
  double (*weight)(double);
};

double box_weight(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

/// Keys' cubic convolution kernel with a = -0.5.
double bicubic_weight(double x) {
  x = std::abs(x);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
  return 0;
}

constexpr Filter kBox{0.5, box_weight};
constexpr Filter kBicubic{2.0, bicubic_weight};

/// Weights are integers of 22 fractional bits: 8 bits of pixel and 2 of sign and overshoot fill an int32.
constexpr int kFraction = 22;

/// What one output position takes from the input.
struct Tap {
  std::int64_t first;
  std::vector<std::int32_t> weights;
};

/// The taps of a line resized from `from` to `to` pixels. When shrinking, the filter is widened to
/// cover the pixels that fall together (antialiasing).
std::vector<Tap> make_taps(std::int64_t from, std::int64_t to, const Filter& filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0);
  const double shrink = 1 / stretch;  // multiplied by, as the reference does: it decides ties at the box's edge
  const double reach = filter.support * stretch;
  std::vector<Tap> taps(static_cast<std::size_t>(to));
  for (std::int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max(static_cast<std::int64_t>(centre - reach + 0.5), std::int64_t{0});
    const auto end = std::min(static_cast<std::int64_t>(centre + reach + 0.5), from);
    std::vector<double> weights;
    double sum = 0;
    for (std::int64_t k = first; k < end; ++k) {
      weights.push_back(filter.weight((static_cast<double>(k) - centre + 0.5) * shrink));
      sum += weights.back();
    }
    Tap& tap = taps[static_cast<std::size_t>(i)];
    tap.first = first;
    for (const double weight : weights) {
      tap.weights.push_back(static_cast<std::int32_t>(std::lround(weight / sum * (1 << kFraction))));
    }
  }
  return taps;
}

std::uint8_t to_pixel(std::int32_t sum) { return static_cast<std::uint8_t>(std::clamp(sum >> kFraction, 0, 255)); }

constexpr std::int32_t kHalf = 1 << (kFraction - 1);

Image resize_width(const Image& image, std::int64_t width, const Filter& filter) {
  if (width == image.width) return image;
  const std::vector<Tap> taps = make_taps(image.width, width, filter);
  Image result{width, image.height, image.channels, {}};
  result.pixels.resize(static_cast<std::size_t>(width * image.height * image.channels));
  std::uint8_t* target = result.pixels.data();
  for (std::int64_t y = 0; y < image.height; ++y) {
    const std::uint8_t* row = image.pixels.data() + y * image.width * image.channels;
    for (const Tap& tap : taps) {
      for (std::int64_t c = 0; c < image.channels; ++c) {
        const std::uint8_t* source = row + tap.first * image.channels + c;
        std::int32_t sum = kHalf;
        for (const std::int32_t weight : tap.weights) {
          sum += weight * *source;
          source += image.channels;
        }
        *target++ = to_pixel(sum);
      }
    }
  }
  return result;
}

Image resize_height(const Image& image, std::int64_t height, const Filter& filter) {
  if (height == image.height) return image;
  const std::vector<Tap> taps = make_taps(image.height, height, filter);
  const std::int64_t stride = image.width * image.channels;
  Image result{image.width, height, image.channels, {}};
  result.pixels.resize(static_cast<std::size_t>(stride * height));
  std::vector<std::int32_t> sums(static_cast<std::size_t>(stride));
  std::uint8_t* target = result.pixels.data();
  for (const Tap& tap : taps) {
    std::fill(sums.begin(), sums.end(), kHalf);
    const std::uint8_t* row = image.pixels.data() + tap.first * stride;
    for (const std::int32_t weight : tap.weights) {
      for (std::int64_t i = 0; i < stride; ++i) sums[static_cast<std::size_t>(i)] += weight * row[i];
      row += stride;
    }
    target = std::transform(sums.begin(), sums.end(), target, to_pixel);
  }
  return result;
}

Image resize(const Image& image, std::int64_t width, std::int64_t height, const Filter& filter) {
  return resize_height(resize_width(image, width, filter), height, filter);
}

Image crop_centre(const Image& image, std::int64_t side) {
  if (image.width == side && image.height == side) return image;
  const std::int64_t left = (image.width - side) / 2;
  const std::int64_t top = (image.height - side) / 2;
  Image result{side, side, image.channels, {}};
  for (std::int64_t y = top; y < top + side; ++y) {
    const auto row = image.pixels.begin() + (y * image.width + left) * image.channels;
    result.pixels.insert(result.pixels.end(), row, row + side * image.channels);
  }
  return result;
}

Image with_channels(const Image& image, std::int64_t channels) {
  if (image.channels == channels) return image;
  Image result{image.width, image.height, channels, {}};
  result.pixels.reserve(static_cast<std::size_t>(image.width * image.height * channels));
  for (std::size_t i = 0; i < image.pixels.size(); i += static_cast<std::size_t>(image.channels)) {
    const std::uint8_t* p = image.pixels.data() + i;
    const int grey = image.channels == 1 ? p[0] : (p[0] * 299 + p[1] * 587 + p[2] * 114 + 500) / 1000;
    result.pixels.insert(result.pixels.end(), static_cast<std::size_t>(channels), static_cast<std::uint8_t>(grey));
  }
  return result;
}

void check(const Image& image, std::int64_t channels) {
  const auto is_known = [](std::int64_t count) { return count == 1 || count == 3; };
  if (!is_known(image.channels) || !is_known(channels)) {
    throw Error(
        text("images of ", image.channels, " channels cannot become images of ", channels, ": expected 1 or 3"));
  }
  const bool is_whole = image.width > 0 && image.height > 0 &&
                        static_cast<std::int64_t>(image.pixels.size()) == image.width * image.height * image.channels;
  if (!is_whole) {
    throw Error(text("an image of ", image.width, " x ", image.height, " pixels and ", image.channels, " channels has ",
                     image.pixels.size(), " bytes"));
  }
}

}  // namespace

Image prepare_image(const Image& image, std::int64_t image_size, std::int64_t channels) {
  check(image, channels);
  Image current = with_channels(image, channels);
  while (std::min(current.width, current.height) >= 2 * image_size) {
    current = resize(current, current.width / 2, current.height / 2, kBox);
  }
  const double scale = static_cast<double>(image_size) / static_cast<double>(std::min(current.width, current.height));
  // nearbyint rounds halves to even, as the reference's rounding does.
  const auto scaled = [scale](std::int64_t side) {
    return static_cast<std::int64_t>(std::nearbyint(static_cast<double>(side) * scale));
  };
  current = resize(current, scaled(current.width), scaled(current.height), kBicubic);
  return crop_centre(current, image_size);
}

at::Tensor to_float(const at::Tensor& bytes) { return bytes.to(at::kFloat).div(127.5).sub_(1); }

at::Tensor to_uint8(const at::Tensor& images) {
  return images.to(at::kFloat).add(1).mul_(127.5).clamp_(0, 255).to(at::kByte);
}

}  // namespace casdm
