#include "batch_features.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <tuple>

#include "casdm/error.h"
#include "casdm/text.h"
#include "extractor.h"

namespace casdm::metric_compose {

namespace {

template <class Options>
void describe_batch(Schema<Options>& s) {
  s.component("extractor", static_cast<ComponentConfig Options::*>(&Options::extractor), FeatureExtractor::kind,
              "Whose features are compared.")
      .required();
  s.template option<std::string>("feature", &Options::feature, "Name of the feature; empty: the extractor's first.");
  s.template option<std::int64_t>("queue", &Options::queue,
                                  "Images of previous batches that also count; their features are remembered, in "
                                  "memory for 2 x queue x dimension numbers.")
      .range(0, 1 << 16)
      .in_unit("images");
  s.template option<std::int64_t>("seed", &Options::seed, "Of the extractor's weights, where these are drawn.")
      .at_least(0);
}

/// The feature with this name, or the first one.
FeatureInfo chosen(const std::string& name, const ExtractorInfo& info, const std::string& type) {
  std::vector<std::string> known;
  for (const FeatureInfo& feature : info.features) {
    if (name.empty() || feature.name == name) return feature;
    known.push_back(feature.name);
  }
  throw ConfigError(text("feature: ", type, " has no feature ", quoted(name), "; it has ", join(known, ", ")));
}

Tensor mean_of(const FeatureSample& sample) { return at::mv(sample.features.t(), sample.weights); }

/// Each row minus the mean, times the square root of its weight: X^T X is the covariance.
Tensor centred(const FeatureSample& sample) {
  return (sample.features - mean_of(sample)) * sample.weights.sqrt().unsqueeze(1);
}

/// a - b|^2 for all pairs of rows.
Tensor squared_distances(const Tensor& a, const Tensor& b) {
  const Tensor products = at::mm(a, b.t());
  return (a.square().sum(1).unsqueeze(1) + b.square().sum(1) - 2 * products).clamp_min(0);
}

/// E |y - y'|^2 of two rows.
Tensor mean_squared_distance(const FeatureSample& sample) { return 2 * centred(sample).square().sum(); }

constexpr std::int64_t kNumbersAtOnce = 1 << 20;  // of a kernel without gradient

/// sum_ij w_i w_j k(a_i, b_j). The kernel is held in blocks of some rows of `a`, unless gradients need it.
template <class Kernel>
Tensor sum_of(const Kernel& kernel, const FeatureSample& a, const FeatureSample& b) {
  const auto block = [&](const FeatureSample& rows) {
    return at::dot(rows.weights, at::mv(kernel(rows.features, b.features), b.weights));
  };
  if (a.features.requires_grad() || b.features.requires_grad()) return block(a);
  const std::int64_t count = a.weights.size(0);
  const std::int64_t step = std::max<std::int64_t>(1, kNumbersAtOnce / std::max<std::int64_t>(1, b.weights.size(0)));
  Tensor sum = at::zeros({}, a.features.options());
  for (std::int64_t first = 0; first < count; first += step) {
    sum = sum + block(a.part(first, std::min(step, count - first)));
  }
  return sum;
}

}  // namespace

BatchFeatureLoss::BatchFeatureLoss(const BatchFeatureOptions& options, const Spec& spec)
    : extractor_(differentiable_extractor(options.extractor, spec, options.seed)) {
  const FeatureInfo feature = chosen(options.feature, extractor_->info(), options.extractor.type);
  feature_ = feature.name;
  predictions_ = add_buffer("predictions", at::zeros({options.queue, feature.dimension}));
  targets_ = add_buffer("targets", at::zeros({options.queue, feature.dimension}));
  is_filled_ = add_buffer("is_filled", at::zeros({options.queue}));
}

NamedTensors BatchFeatureLoss::buffers() const {
  NamedTensors result = NetworkOf<MetricLoss>::buffers();
  for (const auto& [name, tensor] : extractor_->buffers()) result.emplace_back("extractor." + name, tensor);
  return result;
}

MetricInfo BatchFeatureLoss::info() const {
  MetricInfo info;
  info.channels = extractor_->info().channels;
  info.is_per_image = false;
  info.has_state = is_filled_.size(0) > 0;
  return info;
}

Tensor BatchFeatureLoss::features_of(const Tensor& images) const {
  const Tensor features = extractor_->extract(images, {feature_}).front().second;
  return features.dim() == 4 ? features.mean({2, 3}) : features;
}

std::vector<Tensor> BatchFeatureLoss::prepare(const Tensor& target) { return {features_of(target)}; }

FeatureSample BatchFeatureLoss::sample(const Tensor& batch, const Tensor& remembered) const {
  const Tensor count = at::cat({at::ones({batch.size(0)}, is_filled_.options()), is_filled_}).to(at::kDouble);
  return {at::cat({batch.to(at::kDouble), remembered.to(at::kDouble)}), count / count.sum(), batch.size(0)};
}

Tensor BatchFeatureLoss::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  return distance_in(prediction, target, {});
}

Tensor BatchFeatureLoss::distance_in(const Tensor& prediction, const std::vector<Tensor>& target,
                                     const MetricContext& context) {
  const Tensor seen = features_of(prediction), wanted = target.at(0);
  const Tensor value = between(sample(seen, predictions_), sample(wanted, targets_));
  if (context.is_training && is_filled_.size(0) > 0) {
    const at::NoGradGuard no_grad;
    const auto remember = [&](Tensor& queue, const Tensor& batch) {
      queue.copy_(at::cat({batch.detach().to(queue.scalar_type()), queue}).narrow(0, 0, queue.size(0)).clone());
    };
    remember(predictions_, seen);
    remember(targets_, wanted);
    remember(is_filled_, at::ones({seen.size(0)}, is_filled_.options()));
  }
  return value.to(prediction.scalar_type()).view({1});
}

void FeatureMmdOptions::describe(Schema<FeatureMmdOptions>& s) {
  describe_batch(s);
  s.option("kernel", &FeatureMmdOptions::kernel,
           "`polynomial`: (a.b / D + 1)^3, as KID has it; `rbf`: a Gaussian of the distance.");
  s.option("bandwidth", &FeatureMmdOptions::bandwidth,
           "Of rbf, in units of the root mean squared distance between two targets.")
      .greater_than(0)
      .only_with("kernel", {"rbf"});
}

MetricInfo FeatureMmd::info() const {
  MetricInfo info = BatchFeatureLoss::info();
  info.is_symmetric = kernel_ == Kernel::polynomial;  // the scale of rbf is that of the targets
  return info;
}

Tensor FeatureMmd::between(const FeatureSample& predictions, const FeatureSample& targets) const {
  Tensor scale;
  if (kernel_ == Kernel::rbf) {
    scale = -0.5 / (bandwidth_ * bandwidth_) / (mean_squared_distance(targets).detach() + 1e-12);
  }
  const auto kernel = [&](const Tensor& a, const Tensor& b) {
    if (kernel_ == Kernel::rbf) return (squared_distances(a, b) * scale).exp();
    return (at::mm(a, b.t()) / static_cast<double>(a.size(1)) + 1).pow(3);
  };
  // What is remembered has no gradient, so its kernel need not be kept.
  const FeatureSample batch = predictions.current();
  const FeatureSample earlier = {predictions.remembered().features.detach(), predictions.remembered().weights, 0};
  const Tensor among_predictions =
      sum_of(kernel, batch, batch) + 2 * sum_of(kernel, batch, earlier) + sum_of(kernel, earlier, earlier);
  const Tensor between_both = sum_of(kernel, batch, targets) + sum_of(kernel, earlier, targets);
  return (among_predictions + sum_of(kernel, targets, targets) - 2 * between_both).clamp_min(0);
}

void FeatureFrechetOptions::describe(Schema<FeatureFrechetOptions>& s) { describe_batch(s); }

Tensor FeatureFrechet::between(const FeatureSample& predictions, const FeatureSample& targets) const {
  const Tensor x = centred(predictions), y = centred(targets);
  const Tensor means = (mean_of(predictions) - mean_of(targets)).square().sum();
  // X Y^T = U S V^T has the sum of its singular values <X, U V^T Y>, and U V^T Y for its gradient.
  Tensor gradient;
  {
    const at::NoGradGuard no_grad;
    const auto [q, r] = at::linalg_qr(x);
    const Tensor r_of_targets = std::get<1>(at::linalg_qr(y));
    // The decomposition throws at a number that is not finite, of which the sums of squares make the distance NaN.
    const Tensor product = at::mm(r, r_of_targets.t()).nan_to_num(0, 0, 0);
    const auto [u, s, v] = at::linalg_svd(product, /*full_matrices=*/false);
    gradient = at::mm(q, at::mm(u, at::mm(v, r_of_targets)));
  }
  const Tensor common = (x * gradient).sum();
  return (means + x.square().sum() + y.square().sum() - 2 * common).clamp_min(0);
}

}  // namespace casdm::metric_compose
