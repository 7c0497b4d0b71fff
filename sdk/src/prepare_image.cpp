#include "casdm/prepare_image.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <iterator>
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

/// Weights are integers with 22 fractional bits: with 8 bits of pixel and 2 for sign and overshoot they fill an int32.
constexpr int kFraction = 22;
constexpr std::int32_t kHalf = 1 << (kFraction - 1);

std::uint8_t to_pixel(std::int32_t sum) { return static_cast<std::uint8_t>(std::clamp(sum >> kFraction, 0, 255)); }

/// Positions in a line, from the first to one past the last.
struct Range {
  std::int64_t first;
  std::int64_t end;
  std::int64_t size() const { return end - first; }
};

/// The input pixels and weights of one output position.
struct Tap {
  std::int64_t first;
  std::vector<std::int32_t> weights;
  std::int64_t end() const { return first + static_cast<std::int64_t>(weights.size()); }
};

/// The taps for the positions `kept` of a line that is resized from `from` to `to` pixels. When shrinking, the filter
/// is widened to cover all pixels that are merged (antialiasing).
std::vector<Tap> make_taps(std::int64_t from, std::int64_t to, Range kept, const Filter& filter) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double stretch = std::max(scale, 1.0);
  const double shrink = 1 / stretch;  // used as a factor, as in the reference: this decides ties at the edge of the box
  const double reach = filter.support * stretch;
  std::vector<Tap> taps(static_cast<std::size_t>(kept.size()));
  std::vector<double> weights;
  for (std::int64_t i = kept.first; i < kept.end; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max(static_cast<std::int64_t>(centre - reach + 0.5), std::int64_t{0});
    const auto end = std::min(static_cast<std::int64_t>(centre + reach + 0.5), from);
    weights.clear();
    double sum = 0;
    for (std::int64_t k = first; k < end; ++k) {
      weights.push_back(filter.weight((static_cast<double>(k) - centre + 0.5) * shrink));
      sum += weights.back();
    }
    Tap& tap = taps[static_cast<std::size_t>(i - kept.first)];
    tap.first = first;
    for (const double weight : weights) {
      tap.weights.push_back(static_cast<std::int32_t>(std::lround(weight / sum * (1 << kFraction))));
    }
  }
  return taps;
}

/// Whether each position is the mean of two, and the next one that of the next two.
bool are_pairs(const std::vector<Tap>& taps) {
  const std::vector<std::int32_t> mean = {kHalf, kHalf};
  for (std::size_t i = 0; i < taps.size(); ++i) {
    if (taps[i].weights != mean || taps[i].first != taps.front().first + 2 * static_cast<std::int64_t>(i)) return false;
  }
  return true;
}

/// What the weights of a pair give: half of the sum, rounded up.
std::uint8_t mean_of(std::uint8_t a, std::uint8_t b) { return static_cast<std::uint8_t>((a + b + 1) >> 1); }

/// The input range that all taps together need.
Range reach_of(const std::vector<Tap>& taps) { return {taps.front().first, taps.back().end()}; }

struct Size {
  std::int64_t width;
  std::int64_t height;
};

using Row = std::vector<std::uint8_t>;

/// One resizing step, of the rows and columns that the next step needs.
class Resizing {
 public:
  Resizing(Size from, Size to, const Filter& filter, Range columns, Range rows, std::int64_t channels)
      : channels_(channels),
        across_(make_taps(from.width, to.width, columns, filter)),
        down_(make_taps(from.height, to.height, rows, filter)),
        halves_across_(are_pairs(across_)),
        halves_down_(are_pairs(down_)),
        received_(reach_of(down_).first) {}

  /// The range that it needs from its input.
  Range columns() const { return reach_of(across_); }
  Range rows() const { return reach_of(down_); }

  /// Takes the next of the rows() of the input, only in its columns(), and passes on completed rows.
  template <class Receiver>
  void add(const Row& row, const Receiver& receive) {
    window_.push_back(narrowed(row));
    ++received_;
    while (done_ < down_.size() && down_[done_].end() <= received_) {
      receive(mixed(down_[done_]));
      ++done_;
      const std::int64_t needed = done_ < down_.size() ? down_[done_].first : received_;
      while (received_ - static_cast<std::int64_t>(window_.size()) < needed && !window_.empty()) window_.pop_front();
    }
  }

 private:
  Row narrowed(const Row& row) const {
    Row result(across_.size() * static_cast<std::size_t>(channels_));
    if (channels_ == 3) {
      narrow<3>(row, result.data());
    } else {
      narrow<1>(row, result.data());
    }
    return result;
  }

  template <int kChannels>
  void narrow(const Row& row, std::uint8_t* target) const {
    if (halves_across_) {
      const std::uint8_t* source = row.data();
      for (std::size_t i = 0; i < across_.size(); ++i) {
        for (int c = 0; c < kChannels; ++c) target[c] = mean_of(source[c], source[c + kChannels]);
        target += kChannels;
        source += 2 * kChannels;
      }
      return;
    }
    const std::int64_t origin = across_.front().first;
    for (const Tap& tap : across_) {
      const std::uint8_t* source = row.data() + (tap.first - origin) * kChannels;
      std::array<std::int32_t, kChannels> sums;
      sums.fill(kHalf);
      for (const std::int32_t weight : tap.weights) {
        for (int c = 0; c < kChannels; ++c) sums[static_cast<std::size_t>(c)] += weight * source[c];
        source += kChannels;
      }
      for (const std::int32_t sum : sums) *target++ = to_pixel(sum);
    }
  }

  Row mixed(const Tap& tap) {
    auto row = window_.begin() + (tap.first - (received_ - static_cast<std::int64_t>(window_.size())));
    if (halves_down_) {
      Row result(row->size());
      std::transform(row->begin(), row->end(), std::next(row)->begin(), result.begin(), mean_of);
      return result;
    }
    sums_.assign(across_.size() * static_cast<std::size_t>(channels_), kHalf);
    for (const std::int32_t weight : tap.weights) {
      const std::uint8_t* source = (row++)->data();
      std::int32_t* sums = sums_.data();
      for (std::size_t i = 0; i < sums_.size(); ++i) sums[i] += weight * source[i];
    }
    Row result(sums_.size());
    std::transform(sums_.begin(), sums_.end(), result.begin(), to_pixel);
    return result;
  }

  std::int64_t channels_;
  std::vector<Tap> across_;
  std::vector<Tap> down_;
  bool halves_across_, halves_down_;
  std::deque<Row> window_;  ///< the newest rows, resized horizontally
  std::int64_t received_;   ///< one past the newest row
  std::size_t done_ = 0;    ///< rows passed on
  std::vector<std::int32_t> sums_;
};

/// The sizes that an image goes through; the last is cropped to the target.
std::vector<Size> sizes_of(Size size, std::int64_t target) {
  std::vector<Size> sizes = {size};
  if (target == 0) return sizes;
  while (std::min(size.width, size.height) >= 2 * target) {
    size = {size.width / 2, size.height / 2};
    sizes.push_back(size);
  }
  const double scale = static_cast<double>(target) / static_cast<double>(std::min(size.width, size.height));
  // nearbyint rounds halves to even, as the reference does.
  const auto scaled = [scale](std::int64_t side) {
    return static_cast<std::int64_t>(std::nearbyint(static_cast<double>(side) * scale));
  };
  if (std::min(size.width, size.height) != target) sizes.push_back({scaled(size.width), scaled(size.height)});
  return sizes;
}

Range centre_of(std::int64_t side, std::int64_t target) { return {(side - target) / 2, (side - target) / 2 + target}; }

void check(std::int64_t width, std::int64_t height, std::int64_t channels, const Dataset::Spec& spec) {
  const auto is_known = [](std::int64_t count) { return count == 1 || count == 3; };
  if (!is_known(channels) || !is_known(spec.image.channels)) {
    throw Error(
        text("images of ", channels, " channels cannot become images of ", spec.image.channels, ": expected 1 or 3"));
  }
  if (width < 1 || height < 1) throw Error(text("an image of ", width, " x ", height, " pixels is empty"));
}

/// Whether there are width * height * channels bytes, by divisions: the product may be too large for an integer.
bool has_all_bytes(const Image& image) {
  const auto bytes = std::ssize(image.pixels);
  if (image.width > bytes / image.channels) return false;
  const std::int64_t row = image.width * image.channels;
  return bytes % row == 0 && bytes / row == image.height;
}

}  // namespace

class ImagePreparer::Chain {
 public:
  Chain(Size size, std::int64_t channels, const Dataset::Spec& spec)
      : width_(size.width),
        height_(size.height),
        channels_(channels),
        result_{spec.image.height, spec.image.height, spec.image.channels, {}} {
    if (spec.image.height == 0) {
      result_.width = width_;
      result_.height = height_;
    }
    result_.pixels.reserve(static_cast<std::size_t>(result_.width * result_.height * spec.image.channels));
    const std::vector<Size> sizes = sizes_of(size, spec.image.height);
    columns_ = centre_of(sizes.back().width, result_.width);
    rows_ = centre_of(sizes.back().height, result_.height);
    for (std::size_t i = sizes.size() - 1; i > 0;
         --i) {  // backwards, since each step needs to know what the next one takes
      const bool is_half = std::min(sizes[i - 1].width, sizes[i - 1].height) >= 2 * spec.image.height;
      steps_.emplace_front(sizes[i - 1], sizes[i], is_half ? kBox : kBicubic, columns_, rows_, spec.image.channels);
      columns_ = steps_.front().columns();
      rows_ = steps_.front().rows();
    }
  }

  void add(std::span<const std::uint8_t> row) {
    const std::int64_t y = next_++;
    if (y >= height_ || static_cast<std::int64_t>(row.size()) != width_ * channels_) {
      throw Error(text("row ", y, " of ", row.size(), " bytes does not belong to an image of ", width_, " x ", height_,
                       " pixels and ", channels_, " channels"));
    }
    if (y >= rows_.first && y < rows_.end) pass(0, kept(row));
  }

  Image finish() {
    if (next_ != height_) throw Error(text("an image of ", height_, " rows has ", next_));
    return std::move(result_);
  }

 private:
  /// The required columns of a row, with the channels of the result.
  Row kept(std::span<const std::uint8_t> row) const {
    row = row.subspan(static_cast<std::size_t>(columns_.first * channels_),
                      static_cast<std::size_t>(columns_.size() * channels_));
    if (channels_ == result_.channels) return {row.begin(), row.end()};
    Row converted;
    converted.reserve(static_cast<std::size_t>(columns_.size() * result_.channels));
    for (std::size_t i = 0; i < row.size(); i += static_cast<std::size_t>(channels_)) {
      const std::uint8_t* p = row.data() + i;
      const int grey = channels_ == 1 ? p[0] : (p[0] * 299 + p[1] * 587 + p[2] * 114 + 500) / 1000;
      converted.insert(converted.end(), static_cast<std::size_t>(result_.channels), static_cast<std::uint8_t>(grey));
    }
    return converted;
  }

  void pass(std::size_t step, const Row& row) {
    if (step < steps_.size()) {
      steps_[step].add(row, [&](const Row& next) { pass(step + 1, next); });
    } else {
      result_.pixels.insert(result_.pixels.end(), row.begin(), row.end());
    }
  }

  std::int64_t width_;
  std::int64_t height_;
  std::int64_t channels_;
  Image result_;
  Range columns_{};  ///< required columns of the original image
  Range rows_{};
  std::deque<Resizing> steps_;
  std::int64_t next_ = 0;
};

ImagePreparer::ImagePreparer(std::int64_t width, std::int64_t height, std::int64_t channels,
                             const Dataset::Spec& spec) {
  check(width, height, channels, spec);
  chain_ = std::make_unique<Chain>(Size{width, height}, channels, spec);
}

ImagePreparer::~ImagePreparer() = default;

void ImagePreparer::add_row(std::span<const std::uint8_t> row) { chain_->add(row); }

Image ImagePreparer::finish() { return chain_->finish(); }

Image prepare_image(const Image& image, const Dataset::Spec& spec) {
  check(image.width, image.height, image.channels, spec);
  if (!has_all_bytes(image)) {
    throw Error(text("an image of ", image.width, " x ", image.height, " pixels and ", image.channels, " channels has ",
                     image.pixels.size(), " bytes"));
  }
  ImagePreparer preparer(image.width, image.height, image.channels, spec);
  const auto stride = static_cast<std::size_t>(image.width * image.channels);
  for (std::size_t row = 0; row < image.pixels.size(); row += stride) {
    preparer.add_row(std::span(image.pixels).subspan(row, stride));
  }
  return preparer.finish();
}

}  // namespace casdm
