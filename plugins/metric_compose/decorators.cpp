#include "decorators.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "casdm/error.h"
#include "casdm/random.h"
#include "casdm/resize.h"
#include "casdm/text.h"

namespace casdm::metric_compose {
namespace {

std::shared_ptr<MetricLoss> make_metric(const ComponentConfig& config, const MetricLoss::Spec& spec) {
  auto metric = spec.factory->make<MetricLoss>(config, spec);
  const MetricInfo info = metric->info();
  if (spec.image.height < info.minimum_size) {
    throw ConfigError(text("the metric '", config.type, "' needs images of at least ", info.minimum_size,
                           " px, and would get ", spec.image.height, " px; resize to more, or choose another"));
  }
  if (info.channels != 0 && info.channels != spec.image.channels) {
    throw ConfigError(text("the metric '", config.type, "' needs images of ", info.channels, " channels, these have ",
                           spec.image.channels));
  }
  return metric;
}

std::string range(const std::array<double, 2>& ends) { return text('[', number(ends[0]), ", ", number(ends[1]), ']'); }

/// The context of each image, repeated for its patches, each of which gets its own seed.
MetricContext of_patches(MetricContext context, std::int64_t patches) {
  for (Tensor* tensor : {&context.t, &context.log_snr, &context.labels}) {
    if (tensor->defined()) *tensor = tensor->repeat_interleave(patches);
  }
  const std::vector<std::uint64_t> seeds = std::move(context.seeds);
  context.seeds.clear();
  for (const std::uint64_t seed : seeds) {
    for (std::int64_t k = 0; k < patches; ++k)
      context.seeds.push_back(derive_seed(seed, "patch", static_cast<std::uint64_t>(k)));
  }
  return context;
}

void append(NamedTensors& list, const std::string& prefix, const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) list.emplace_back(prefix + name, tensor);
}

}  // namespace

void SumTerm::describe(Schema<SumTerm>& s) {
  s.option("weight", &SumTerm::weight, "Factor of this metric in the sum.").at_least(0);
  s.flatten_component(&SumTerm::metric, MetricLoss::kind);
}

void SumOptions::describe(Schema<SumOptions>& s) {
  s.option("terms", &SumOptions::terms, "The metrics to add: each a table with `type`, `weight` and its own options.")
      .required();
}

SumLoss::SumLoss(const Options& options, const Spec& spec) {
  if (options.terms.empty()) {
    throw ConfigError("terms: expected at least one metric, as in terms = [{type = \"l1\"}, {type = \"ssim\"}]");
  }
  if (std::all_of(options.terms.begin(), options.terms.end(), [](const SumTerm& term) { return term.weight == 0; })) {
    throw ConfigError("terms: every weight is 0, so the metric compares nothing; expected one above 0");
  }
  info_.highest = 0;
  info_.input_range.reset();
  for (const SumTerm& term : options.terms) {
    terms_.push_back({make_metric(term.metric, spec), term.weight});
    const MetricInfo info = terms_.back().metric->info();
    info_.lowest += term.weight * info.lowest;
    if (term.weight > 0) info_.highest += term.weight * info.highest;
    info_.minimum_size = std::max(info_.minimum_size, info.minimum_size);
    if (info.channels != 0) info_.channels = info.channels;
    info_.is_symmetric = info_.is_symmetric && info.is_symmetric;
    info_.is_zero_at_identity = info_.is_zero_at_identity && info.is_zero_at_identity;
    info_.is_per_image = info_.is_per_image && info.is_per_image;
    info_.has_state = info_.has_state || info.has_state;
    if (!info.input_range) continue;
    if (info_.input_range && info_.input_range != info.input_range) {
      throw ConfigError(text("terms: '", term.metric.type, "' expects pixels in ", range(*info.input_range),
                             ", the terms before it for ", range(*info_.input_range),
                             "; list them one by one under [[metrics]], each with its own input_range"));
    }
    info_.input_range = info.input_range;
  }
}

NamedTensors SumLoss::parameters() const {
  NamedTensors result;
  for (std::size_t i = 0; i < terms_.size(); ++i) append(result, text(i, "."), terms_[i].metric->parameters());
  return result;
}

NamedTensors SumLoss::buffers() const {
  NamedTensors result;
  for (std::size_t i = 0; i < terms_.size(); ++i) append(result, text(i, "."), terms_[i].metric->buffers());
  return result;
}

void SumLoss::train(bool on) {
  for (const Term& term : terms_) term.metric->train(on);
}

std::vector<Tensor> SumLoss::prepare(const Tensor& target) {
  std::vector<Tensor> result;
  for (Term& term : terms_) {
    const std::vector<Tensor> prepared = term.metric->prepare(target);
    term.prepared = prepared.size();
    result.insert(result.end(), prepared.begin(), prepared.end());
  }
  return result;
}

Tensor SumLoss::distance_in(const Tensor& prediction, const std::vector<Tensor>& target, const MetricContext& context) {
  Tensor sum;
  auto next = target.begin();
  for (const Term& term : terms_) {
    const auto end = next + static_cast<std::ptrdiff_t>(term.prepared);
    Tensor value = term.weight * term.metric->distance_in(prediction, std::vector<Tensor>(next, end), context);
    if (!info_.is_per_image) value = value.mean(0, /*keepdim=*/true);
    sum = sum.defined() ? sum + value : value;
    next = end;
  }
  return sum;
}

Decorator::Decorator(const ComponentConfig& config, Spec spec, std::int64_t image_size) {
  spec.image.height = spec.image.width = image_size;
  metric_ = make_metric(config, spec);
}

NamedTensors Decorator::parameters() const { return metric_->parameters(); }

NamedTensors Decorator::buffers() const { return metric_->buffers(); }

void ResizedOptions::describe(Schema<ResizedOptions>& s) {
  s.component("metric", &ResizedOptions::metric, MetricLoss::kind, "The metric of the resized images.").required();
  s.option("size", &ResizedOptions::size, "Height and width the metric gets.")
      .range(1, 4096)
      .required()
      .in_unit("pixels")
      .example(64);
  s.option("mode", &ResizedOptions::mode,
           "Interpolation; area: means of whole pixels, for shrinking by a whole factor.");
}

ResizedLoss::ResizedLoss(const Options& options, const Spec& spec)
    : Decorator(options.metric, spec, options.size), size_(options.size), mode_(options.mode) {}

MetricInfo ResizedLoss::info() const {
  MetricInfo info = metric_->info();
  info.minimum_size = 1;
  return info;
}

std::vector<Tensor> ResizedLoss::prepare(const Tensor& target) { return metric_->prepare(resized(target)); }

Tensor ResizedLoss::distance_in(const Tensor& prediction, const std::vector<Tensor>& target,
                                const MetricContext& context) {
  return metric_->distance_in(resized(prediction), target, context);
}

Tensor ResizedLoss::resized(const Tensor& images) const {
  if (images.size(2) == size_ && images.size(3) == size_) return images;
  if (mode_ == Interpolation::area) return casdm::resized(images, size_, size_, casdm::Interpolation::area);
  const bool is_bicubic = mode_ == Interpolation::bicubic;
  return casdm::resized(images, size_, size_,
                        is_bicubic ? casdm::Interpolation::bicubic : casdm::Interpolation::bilinear);
}

void PatchOptions::describe(Schema<PatchOptions>& s) {
  s.component("metric", &PatchOptions::metric, MetricLoss::kind, "The metric of the patches.").required();
  s.option("size", &PatchOptions::size, "Side of a patch.").range(1, 4096).required().in_unit("pixels").example(16);
  s.option("stride", &PatchOptions::stride, "Distance between patches; 0: their size, so that they do not overlap.")
      .range(0, 4096)
      .in_unit("pixels");
}

PatchLoss::PatchLoss(const Options& options, const Spec& spec)
    : Decorator(options.metric, spec, options.size),
      size_(options.size),
      stride_(options.stride > 0 ? options.stride : options.size) {}

MetricInfo PatchLoss::info() const {
  MetricInfo info = metric_->info();
  info.minimum_size = size_;
  return info;
}

std::vector<Tensor> PatchLoss::prepare(const Tensor& target) { return metric_->prepare(patches(target)); }

Tensor PatchLoss::distance_in(const Tensor& prediction, const std::vector<Tensor>& target,
                              const MetricContext& context) {
  const Tensor cut = patches(prediction);
  const std::int64_t images = prediction.size(0);
  const Tensor found = metric_->distance_in(cut, target, of_patches(context, cut.size(0) / images));
  return metric_->info().is_per_image ? found.reshape({images, -1}).mean(1) : found;
}

Tensor PatchLoss::patches(const Tensor& images) const {
  const auto starts = [this](std::int64_t length) {
    std::vector<std::int64_t> result;
    for (std::int64_t start = 0; start + size_ < length; start += stride_) result.push_back(start);
    result.push_back(length - size_);
    return result;
  };
  // Rows of patches first: cut one by one, each patch would cost a GPU an operator in the backward pass.
  std::vector<Tensor> rows, columns;
  for (const std::int64_t top : starts(images.size(2))) rows.push_back(images.narrow(2, top, size_));
  const Tensor of_rows = at::stack(rows, 1);  // [B, rows, C, size, W]
  for (const std::int64_t left : starts(images.size(3))) columns.push_back(of_rows.narrow(4, left, size_));
  return at::stack(columns, 2).flatten(0, 2);
}

}  // namespace casdm::metric_compose
