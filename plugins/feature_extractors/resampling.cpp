#include "resampling.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "casdm/error.h"
#include "casdm/on_device.h"
#include "casdm/text.h"

namespace casdm::feature_extractors {

namespace {

/// Linear weights of the two pixels around `position`, which is in pixels from the centre of the first.
void add_linear(at::TensorAccessor<double, 1> row, double position) {
  const auto last = row.size(0) - 1;
  const double inside = std::max(position, 0.0);
  const auto below = std::min<std::int64_t>(static_cast<std::int64_t>(inside), last);
  const double part = inside - static_cast<double>(below);
  row[below] += 1 - part;
  row[std::min(below + 1, last)] += part;
}

/// Keys' cubic convolution with a = -0.5.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/// Cubic weights around `centre`, in pixels from the left edge of the first; the filter is `width` pixels wide, at
/// least one.
void add_cubic(at::TensorAccessor<double, 1> row, double centre, double width) {
  const double support = 2 * width;
  const auto begin = std::max<std::int64_t>(0, static_cast<std::int64_t>(centre - support + 0.5));
  const auto end = std::min<std::int64_t>(row.size(0), static_cast<std::int64_t>(centre + support + 0.5));
  double sum = 0;
  for (std::int64_t i = begin; i < end; ++i) {
    row[i] = cubic((static_cast<double>(i) - centre + 0.5) / width);
    sum += row[i];
  }
  for (std::int64_t i = begin; i < end; ++i) row[i] /= sum;
}

}  // namespace

Tensor resampling_weights(std::int64_t from, std::int64_t to, ExtractorResize method) {
  Tensor weights = at::zeros({to, from}, at::kDouble);
  auto rows = weights.accessor<double, 2>();
  const double step = static_cast<double>(from) / static_cast<double>(to);
  for (std::int64_t i = 0; i < to; ++i) {
    const double index = static_cast<double>(i);
    switch (method) {
      case ExtractorResize::bilinear:
        add_linear(rows[i], (index + 0.5) * step - 0.5);
        break;
      case ExtractorResize::tf1_bilinear:
        add_linear(rows[i], static_cast<float>(i) * static_cast<float>(step));
        break;
      case ExtractorResize::bicubic_antialias:
        add_cubic(rows[i], (index + 0.5) * step, std::max(step, 1.0));
        break;
      case ExtractorResize::none:
        throw Error("no method of resampling was chosen");
    }
  }
  return weights;
}

namespace {

/// The weights, like `images`. Computed once and never destroyed, since the device may no longer exist then.
Tensor weights_like(const Tensor& images, std::int64_t from, std::int64_t to, ExtractorResize method) {
  using Key = std::tuple<std::int64_t, std::int64_t, ExtractorResize, at::ScalarType, std::string>;
  static std::mutex mutex;
  static auto& made = *new std::map<Key, Tensor>;
  const std::lock_guard lock(mutex);
  Tensor& result = made[{from, to, method, images.scalar_type(), images.device().str()}];
  if (result.defined()) return result;
  const at::NoGradGuard no_grad;
  return result = to_device(resampling_weights(from, to, method).to(images.scalar_type()), images.device());
}

}  // namespace

Tensor resized(const Tensor& images, std::int64_t size, ExtractorResize method) {
  if (images.size(2) == size && images.size(3) == size) return images;
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);  // it would round the pixels
  const auto weights = [&](std::int64_t from) { return weights_like(images, from, size, method); };
  return at::matmul(weights(images.size(2)), at::matmul(images, weights(images.size(3)).t()));
}

ExtractorResize resize_method(std::string_view name) {
  if (name == "bilinear") return ExtractorResize::bilinear;
  if (name == "tf1_bilinear") return ExtractorResize::tf1_bilinear;
  if (name == "bicubic_antialias") return ExtractorResize::bicubic_antialias;
  if (name == "none") return ExtractorResize::none;
  throw ConfigError(text("there is no method of resizing called ", quoted(name)));
}

}  // namespace casdm::feature_extractors
