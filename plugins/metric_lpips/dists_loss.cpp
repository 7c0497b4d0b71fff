#include "dists_loss.h"

#include <ATen/ATen.h>

#include <numeric>

#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"

namespace casdm::metric_lpips {
namespace {

constexpr double kStability = 1e-6;  // c1 and c2 of the paper's equations 4 and 5
constexpr std::int64_t kImageChannels = 3;

/// Mean over positions, [B, C, 1, 1].
Tensor mean_of(const Tensor& map) { return map.mean({2, 3}, /*keepdim=*/true); }

}  // namespace

DistsLoss::DistsLoss(const Options& options, const Spec& spec)
    : extract_(trunks::dists_trunk(), options.memory_format),
      map_channels_(trunks::dists_trunk().channels),
      minimum_size_(trunks::dists_trunk().minimum_size),
      channels_(spec.image.channels) {
  if (spec.image.channels != 1 && spec.image.channels != 3) {
    throw ConfigError(text("the metric's network takes RGB (3) or grey (1) images, the data have ", spec.image.channels,
                           " channels; use a metric without a network, such as ssim or l1"));
  }
  map_channels_.insert(map_channels_.begin(), kImageChannels);
  const std::int64_t all = std::accumulate(map_channels_.begin(), map_channels_.end(), std::int64_t{0});
  for (const auto& [name, tensor] : extract_.weights()) buffers_.emplace_back("net." + name, tensor);
  alpha_ = buffers_.emplace_back("alpha", at::empty({1, all, 1, 1})).second;
  beta_ = buffers_.emplace_back("beta", at::empty({1, all, 1, 1})).second;
  mean_ = buffers_.emplace_back("mean", at::empty({1, kImageChannels, 1, 1})).second;
  std_ = buffers_.emplace_back("std", at::empty({1, kImageChannels, 1, 1})).second;
  const std::filesystem::path file = find_weights(options.weights.value_or("dists_vgg16.safetensors"));
  load_state(*this, read_safetensors(file).tensors, file.string());
  if ((alpha_ < 0).any().item<bool>() || (beta_ < 0).any().item<bool>() ||
      (alpha_.sum() + beta_.sum()).item<double>() <= 0) {
    throw Error(text(file.string(), ": alpha and beta must not be negative nor all 0"));
  }
}

MetricInfo DistsLoss::info() const {
  MetricInfo info;
  info.highest = 2.0;
  info.minimum_size = minimum_size_;
  info.channels = channels_;
  return info;
}

/// For each map: its means, and the map minus its means.
std::vector<Tensor> DistsLoss::prepare(const Tensor& target) {
  std::vector<Tensor> result;
  for (const Tensor& map : maps(target)) {
    result.push_back(mean_of(map));
    result.push_back(map - result.back());
  }
  return result;
}

Tensor DistsLoss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  const std::vector<Tensor> features = maps(prediction);
  const Tensor all_alpha = alpha_.to(features[0].scalar_type()), all_beta = beta_.to(features[0].scalar_type());
  const Tensor total = all_alpha.sum() + all_beta.sum();
  const std::vector<Tensor> alpha = (all_alpha / total).split_with_sizes(map_channels_, 1);
  const std::vector<Tensor> beta = (all_beta / total).split_with_sizes(map_channels_, 1);
  Tensor sum;
  for (std::size_t k = 0; k < features.size(); ++k) {
    const Tensor mean = mean_of(features[k]), centred = features[k] - mean;
    const Tensor& target_mean = target[2 * k];
    const Tensor& target_centred = target[2 * k + 1];
    const Tensor texture = (mean - target_mean).square() / (mean.square() + target_mean.square() + kStability);
    const Tensor variances = mean_of(centred.square()) + mean_of(target_centred.square());
    const Tensor structure = mean_of((centred - target_centred).square()) / (variances + kStability);
    const Tensor value = (alpha[k] * texture + beta[k] * structure).sum({1, 2, 3});
    sum = sum.defined() ? sum + value : value;
  }
  return sum;
}

std::vector<Tensor> DistsLoss::maps(const Tensor& images) const {
  Tensor x = (images + 1) / 2;
  if (x.size(1) == 1) x = x.expand({-1, kImageChannels, -1, -1});
  std::vector<Tensor> result = extract_((x - mean_.to(x.scalar_type())) / std_.to(x.scalar_type()));
  result.insert(result.begin(), x);
  for (Tensor& map : result) map = map.scalar_type() == at::kDouble ? map : map.to(at::kFloat);
  return result;
}

void DistsOptions::describe(Schema<DistsOptions>& s) {
  s.option(
       "weights", &DistsOptions::weights,
       "Safetensors file of the network with alpha and beta: a path, or a name looked up in CASDM_WEIGHTS_PATH and the "
       "cache. docs/weights.md says how to make it. Default: dists_vgg16.safetensors.")
      .example("dists_vgg16.safetensors");
  trunks::describe_format(s, &DistsOptions::memory_format);
}

}  // namespace casdm::metric_lpips
