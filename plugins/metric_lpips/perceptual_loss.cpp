#include "perceptual_loss.h"

#include <ATen/ATen.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "casdm/error.h"
#include "casdm/resize.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"

namespace casdm::metric_lpips {
namespace {

constexpr double kEpsilon = 1e-10;

trunks::Trunk trunk_of(const LpipsOptions& options) {
  const bool average_pool = options.profile == LpipsProfile::consistency_models;
  if (average_pool && options.net != "vgg16") {
    throw ConfigError(text("profile = \"consistency-models\" is defined for net = \"vgg16\" alone, got \"", options.net,
                           "\"; choose vgg16 or profile = \"lpips\""));
  }
  return trunks::lpips_trunk(options.net, average_pool);
}

/// The weights of the `from` pixels along an axis for each of the `to` new ones: [to, from].
Tensor interpolation(std::int64_t from, std::int64_t to, const at::TensorOptions& options) {
  const Tensor each = at::eye(from, options).view({1, 1, from, from});
  return at::upsample_bilinear2d(each, {to, from}, /*align_corners=*/false).view({to, from});
}

/// The values of at::upsample_bilinear2d, whose gradient is not deterministic on a GPU. Images that shrink are not
/// antialiased.
Tensor interpolated(const Tensor& images, std::int64_t size) {
  const c10::impl::ExcludeDispatchKeyGuard as_it_is(c10::autocast_dispatch_keyset);  // not rounded
  const Tensor rows = interpolation(images.size(2), size, images.options());
  const Tensor columns = interpolation(images.size(3), size, images.options());
  return rows.matmul(images).matmul(columns.t());
}

Tensor at_least_float(const Tensor& x) { return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat); }

}  // namespace

PerceptualLoss::PerceptualLoss(const Setup& setup, const Spec& spec)
    : extract_(setup.trunk, setup.format), setup_(setup), channels_(spec.image.channels) {
  if (spec.image.channels != 1 && spec.image.channels != 3) {
    throw ConfigError(text("the metric's network takes RGB (3) or grey (1) images, the data have ", spec.image.channels,
                           " channels; use a metric without a network, such as ssim or l1"));
  }
  for (const auto& [name, tensor] : extract_.weights()) buffers_.emplace_back("net." + name, tensor);
  for (std::size_t k = 0; k < setup.trunk.channels.size(); ++k) {
    heads_.push_back(at::empty({1, setup.trunk.channels[k], 1, 1}));
    buffers_.emplace_back(text("lin", k, ".model.1.weight"), heads_.back());
  }
  shift_ = at::empty({1, 3, 1, 1});
  scale_ = at::empty({1, 3, 1, 1});
  buffers_.emplace_back("scaling_layer.shift", shift_);
  buffers_.emplace_back("scaling_layer.scale", scale_);
  const std::filesystem::path file = find_weights(setup.weights);
  load_state(*this, read_safetensors(file).tensors, file.string());
}

MetricInfo PerceptualLoss::info() const {
  MetricInfo info;
  info.minimum_size = setup_.resize_to > 0 ? 1 : setup_.trunk.minimum_size;
  info.channels = channels_;
  return info;
}

std::vector<Tensor> PerceptualLoss::prepare(const Tensor& target) { return unit_features(target); }

Tensor PerceptualLoss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  const std::vector<Tensor> features = unit_features(prediction);
  Tensor sum;
  for (std::size_t k = 0; k < features.size(); ++k) {
    const Tensor squared = (features[k] - target[k]).square();
    const Tensor weighted =
        setup_.has_heads ? at::conv2d(squared, heads_[k].to(squared.scalar_type())) : squared.sum(1, /*keepdim=*/true);
    const Tensor value = weighted.mean({1, 2, 3});
    sum = sum.defined() ? sum + value : value;
  }
  return sum;
}

std::vector<Tensor> PerceptualLoss::unit_features(const Tensor& images) const {
  std::vector<Tensor> taps = extract_(network_input(images));
  for (Tensor& tap : taps) tap = normalise(at_least_float(tap));
  return taps;
}

Tensor PerceptualLoss::network_input(const Tensor& images) const {
  Tensor x = images;
  const std::int64_t size = setup_.resize_to;
  if (x.size(3) < size) {
    x = resized(x, size, size, Interpolation::bilinear);
  } else if (x.size(3) > size && x.size(3) < setup_.resize_below) {
    x = interpolated(x, size);
  }
  if (x.size(1) == 1) x = x.expand({-1, 3, -1, -1});
  return (x - shift_.to(x.scalar_type())) / scale_.to(x.scalar_type());
}

Tensor PerceptualLoss::normalise(const Tensor& features) const {
  const Tensor squares = features.square().sum(1, /*keepdim=*/true);
  return setup_.normalisation == Normalisation::safe ? features / (squares + kEpsilon).sqrt()
                                                     : features / (squares.sqrt() + kEpsilon);
}

LpipsLoss::LpipsLoss(const Options& options, const Spec& spec)
    : PerceptualLoss({.trunk = trunk_of(options),
                      .weights = options.weights.value_or("lpips_" + options.net + ".safetensors"),
                      .has_heads = options.lin,
                      .normalisation = options.normalisation,
                      .resize_below = options.profile == LpipsProfile::consistency_models ? 256 : 0,
                      .resize_to = options.profile == LpipsProfile::consistency_models ? 224 : 0,
                      .format = options.memory_format},
                     spec) {}

StLpipsLoss::StLpipsLoss(const Options& options, const Spec& spec)
    : PerceptualLoss({.trunk = trunks::st_lpips_trunk(options.net),
                      .weights = options.weights.value_or("st_lpips_" + options.net + ".safetensors"),
                      .normalisation = options.normalisation,
                      .format = options.memory_format},
                     spec) {}

namespace {

constexpr const char* kWeightsDoc =
    "Safetensors file of the network and its heads: a path, or a name looked up in CASDM_WEIGHTS_PATH and the cache. "
    "docs/weights.md says how to make it. Default: ";
constexpr const char* kNormalisationDoc =
    "How features are scaled to length 1. safe: finite gradients everywhere; upstream: the published form, for "
    "comparable "
    "numbers; its gradient is NaN where their squares vanish.";

}  // namespace

void LpipsOptions::describe(Schema<LpipsOptions>& s) {
  s.option("net", &LpipsOptions::net, "Trunk.").choices({"vgg16", "alexnet", "squeezenet"});
  s.option("weights", &LpipsOptions::weights, text(kWeightsDoc, "lpips_<net>.safetensors."))
      .example("lpips_vgg16.safetensors");
  s.option("lin", &LpipsOptions::lin, "Weight the channels by the learned heads; false: all equally.");
  s.option("profile", &LpipsOptions::profile,
           "lpips: as published. consistency-models: average pools, and images narrower than 256 resized to 224 "
           "(bilinear), as in Song et al. 2023; vgg16 only.")
      .only_with("net", {"vgg16"});
  s.option("normalisation", &LpipsOptions::normalisation, kNormalisationDoc);
  trunks::describe_format(s, &LpipsOptions::memory_format);
}

void StLpipsOptions::describe(Schema<StLpipsOptions>& s) {
  s.option("net", &StLpipsOptions::net, "Trunk.").choices({"vgg16", "alexnet"});
  s.option("weights", &StLpipsOptions::weights, text(kWeightsDoc, "st_lpips_<net>.safetensors."))
      .example("st_lpips_vgg16.safetensors");
  s.option("normalisation", &StLpipsOptions::normalisation, kNormalisationDoc);
  trunks::describe_format(s, &StLpipsOptions::memory_format);
}

}  // namespace casdm::metric_lpips
