#include "ssim.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "casdm/error.h"
#include "casdm/text.h"

namespace casdm::metric_ssim {
namespace {

constexpr std::size_t kTensorsOfMoments = 4;

Stabilisers stabilisers_of(const SsimOptions& options) {
  const double luminance = options.k1 * options.data_range, contrast = options.k2 * options.data_range;
  return {luminance * luminance, contrast * contrast};
}

/// Declares SsimOptions as T's own; T is SsimOptions or derives from it.
template <class T>
void describe_common(Schema<T>& s, double smallest_kernel) {
  s.template option<double>("data_range", &T::data_range, "Span of the images' values; 2 for images in [-1, 1].")
      .greater_than(0);
  s.template option<std::int64_t>("kernel_size", &T::kernel_size, "Side of the Gaussian window.")
      .range(smallest_kernel, 4095)
      .in_unit("pixels");
  s.template option<double>("kernel_sigma", &T::kernel_sigma, "Standard deviation of the window.")
      .greater_than(0)
      .in_unit("pixels");
  s.template option<double>("k1", &T::k1, "Stabiliser of the luminance term: (k1 data_range)^2.").greater_than(0);
  s.template option<double>("k2", &T::k2, "Stabiliser of the contrast term: (k2 data_range)^2.").greater_than(0);
}

/// Images in [-1, 1] as intensities from 0 up.
Tensor intensities(const Tensor& images) { return images + 1; }

void append(std::vector<Tensor>& list, const Moments& m) {
  list.insert(list.end(), {m.centred, m.centre, m.mean, m.variance});
}

Moments moments_at(const std::vector<Tensor>& list, std::size_t scale) {
  const std::size_t first = scale * kTensorsOfMoments;
  return {list.at(first), list.at(first + 1), list.at(first + 2), list.at(first + 3)};
}

/// The first row (axis 2) or column (axis 3) twice. The gradient of at::replication_pad2d is not deterministic on a
/// GPU.
Tensor with_first_repeated(const Tensor& images, std::int64_t axis) {
  return at::cat({images.narrow(axis, 0, 1), images}, axis);
}

/// Half the size: means of 2x2 pixels; if a side is odd, the first row and column are repeated (as in piq).
Tensor halved(const Tensor& images) {
  const bool is_odd = images.size(2) % 2 != 0 || images.size(3) % 2 != 0;
  return at::avg_pool2d(is_odd ? with_first_repeated(with_first_repeated(images, 2), 3) : images, 2);
}

/// max(x, 0)^exponent with a finite gradient; exact except for x in (0, 1e-8).
Tensor power(const Tensor& x, double exponent) {
  return at::where(x > 0, x.clamp_min(1e-8).pow(exponent), at::zeros({}, x.options()));
}

/// The number of scales at which the window still fits; at least one.
std::size_t number_of_scales(std::int64_t image_size, std::int64_t kernel_size, std::size_t most) {
  std::size_t count = 1;
  for (std::int64_t size = (image_size + 1) / 2; count < most && size >= kernel_size; size = (size + 1) / 2) ++count;
  return count;
}

}  // namespace

SsimLoss::SsimLoss(const Options& options, const Spec& /*spec*/)
    : stabilisers_(stabilisers_of(options)), window_(gaussian(options.kernel_size, options.kernel_sigma)) {}

MetricInfo SsimLoss::info() const {
  MetricInfo info;
  info.highest = 2;
  info.minimum_size = window_.size(0);
  return info;
}

std::vector<Tensor> SsimLoss::prepare(const Tensor& target) {
  std::vector<Tensor> result;
  append(result, moments(intensities(target), window_));
  return result;
}

Tensor SsimLoss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  const Moments x = moments(intensities(prediction), window_);
  return 1 - similarity(x, moments_at(target, 0), window_, stabilisers_).ssim.mean(1);
}

void SsimOptions::describe(Schema<SsimOptions>& s) { describe_common(s, 2); }

MsSsimLoss::MsSsimLoss(const Options& options, const Spec& spec) : stabilisers_(stabilisers_of(options)) {
  const std::vector<double>& all = options.scale_weights;
  const double sum = std::accumulate(all.begin(), all.end(), 0.0);
  if (all.empty() || sum <= 0) {
    throw ConfigError("scale_weights: expected at least one weight and a positive sum");
  }
  const std::size_t count = number_of_scales(spec.image.height, options.kernel_size, all.size());
  scale_weights_.assign(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count));
  const double used = std::accumulate(scale_weights_.begin(), scale_weights_.end(), 0.0);
  if (used <= 0) {
    throw ConfigError(text("scale_weights: the weights of the ", count, " scales that images of ", spec.image.height,
                           " px have room for must have a positive sum"));
  }
  for (double& weight : scale_weights_) weight *= sum / used;
  const std::int64_t largest_odd = spec.image.height - (spec.image.height + 1) % 2;
  const std::int64_t size = spec.image.height < options.kernel_size ? largest_odd : options.kernel_size;
  window_ = gaussian(size, options.kernel_sigma * static_cast<double>(size) / static_cast<double>(options.kernel_size));
}

MetricInfo MsSsimLoss::info() const {
  MetricInfo info;
  info.highest = 1;
  info.minimum_size = std::min<std::int64_t>(3, window_.size(0));
  return info;
}

std::vector<Tensor> MsSsimLoss::prepare(const Tensor& target) {
  std::vector<Tensor> result;
  Tensor y = intensities(target);
  for (std::size_t scale = 0; scale < scale_weights_.size(); ++scale) {
    if (scale > 0) y = halved(y);
    append(result, moments(y, window_));
  }
  return result;
}

Tensor MsSsimLoss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  Tensor x = intensities(prediction), product;
  for (std::size_t scale = 0; scale < scale_weights_.size(); ++scale) {
    if (scale > 0) x = halved(x);
    if (scale_weights_[scale] == 0) continue;
    const Similarity s = similarity(moments(x, window_), moments_at(target, scale), window_, stabilisers_);
    const bool is_coarsest = scale + 1 == scale_weights_.size();
    const Tensor factor = power(is_coarsest ? s.ssim : s.contrast_structure, scale_weights_[scale]);
    product = product.defined() ? product * factor : factor;
  }
  return 1 - product.mean(1);
}

void MsSsimOptions::describe(Schema<MsSsimOptions>& s) {
  describe_common(s, 3);
  s.option("scale_weights", &MsSsimOptions::scale_weights,
           "Exponents of the scales, finest first; as many as the image has room for are used.")
      .at_least(0);
}

}  // namespace casdm::metric_ssim
