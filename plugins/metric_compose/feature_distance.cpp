#include "feature_distance.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "casdm/error.h"
#include "casdm/text.h"
#include "extractor.h"

namespace casdm::metric_compose {

namespace {

constexpr double kEpsilon = 1e-10;  // keeps the gradient finite if all features are 0

Tensor at_least_float(const Tensor& x) { return x.scalar_type() == at::kDouble ? x : x.to(at::kFloat); }

Tensor with_unit_length(const Tensor& features) {
  return features / (features.square().sum(1, /*keepdim=*/true) + kEpsilon).sqrt();
}

std::vector<std::string> names_of(const ExtractorInfo& info) {
  std::vector<std::string> names;
  for (const FeatureInfo& feature : info.features) names.push_back(feature.name);
  return names;
}

/// `layers` of the extractor, or all of its features if none are named.
std::vector<std::string> chosen(const std::vector<std::string>& layers, const ExtractorInfo& info,
                                const std::string& type) {
  const std::vector<std::string> names = names_of(info);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (std::find(names.begin(), names.end(), layers[i]) == names.end()) {
      throw ConfigError(text("layers: ", type, " has no feature ", quoted(layers[i]), "; it has ", join(names, ", ")));
    }
    if (std::find(layers.begin(), layers.begin() + static_cast<std::ptrdiff_t>(i), layers[i]) !=
        layers.begin() + static_cast<std::ptrdiff_t>(i)) {
      throw ConfigError(
          text("layers: ", quoted(layers[i]), " is named twice; raise its entry of layer_weights instead"));
    }
  }
  return layers.empty() ? names : layers;
}

}  // namespace

void FeatureDistanceOptions::describe(Schema<FeatureDistanceOptions>& s) {
  s.component("extractor", &FeatureDistanceOptions::extractor, FeatureExtractor::kind, "Whose features are compared.")
      .required();
  s.option("layers", &FeatureDistanceOptions::layers, "Names of the features; empty: all that the extractor has.");
  s.option("layer_weights", &FeatureDistanceOptions::layer_weights, "Factor of each layer; empty: 1.");
  s.option("distance", &FeatureDistanceOptions::distance,
           "Of the features at a place: squared or absolute differences, or 1 - their cosine.")
      .choices({"l2", "l1", "cosine"});
  s.option("unit_length", &FeatureDistanceOptions::unit_length,
           "Scale the features of each place to length 1 first, as LPIPS does. A cosine always does.")
      .not_with("distance", {"cosine"});
  s.option("seed", &FeatureDistanceOptions::seed, "Of the extractor's weights, where these are drawn.").at_least(0);
}

FeatureDistance::FeatureDistance(const Options& options, const Spec& spec)
    : extractor_(differentiable_extractor(options.extractor, spec, options.seed)),
      layers_(chosen(options.layers, extractor_->info(), options.extractor.type)),
      weights_(options.layer_weights),
      distance_(options.distance),
      unit_length_(options.unit_length || options.distance == "cosine") {
  if (weights_.empty()) weights_.assign(layers_.size(), 1.0);
  if (weights_.size() != layers_.size()) {
    throw ConfigError(
        text("layer_weights: expected ", layers_.size(), " numbers, one for each layer, got ", weights_.size()));
  }
  if (*std::min_element(weights_.begin(), weights_.end()) < 0) {
    throw ConfigError("layer_weights: expected no negative number");
  }
  if (*std::max_element(weights_.begin(), weights_.end()) == 0) {
    throw ConfigError("layer_weights: all are 0, so the metric compares nothing; expected one above 0");
  }
}

MetricInfo FeatureDistance::info() const {
  MetricInfo info;
  const double weight = std::accumulate(weights_.begin(), weights_.end(), 0.0);
  // The squared distance between vectors of length 1 is at most 4.
  info.highest = !unit_length_ || distance_ == "l1" ? std::numeric_limits<double>::infinity()
                                                    : (distance_ == "cosine" ? 2 : 4) * weight;
  info.channels = extractor_->info().channels;
  return info;
}

std::vector<Tensor> FeatureDistance::prepare(const Tensor& target) {
  std::vector<Tensor> result;
  for (const auto& [name, features] : extractor_->extract(target, layers_)) {
    const Tensor x = at_least_float(features);
    result.push_back(unit_length_ ? with_unit_length(x) : x);
  }
  return result;
}

Tensor FeatureDistance::distance(const Tensor& prediction, const std::vector<Tensor>& target) {
  const std::vector<Tensor> features = prepare(prediction);
  Tensor sum;
  for (std::size_t k = 0; k < features.size(); ++k) {
    const Tensor value = weights_[k] * difference(features[k], target[k]);
    sum = sum.defined() ? sum + value : value;
  }
  return sum;
}

Tensor FeatureDistance::difference(const Tensor& a, const Tensor& b) const {
  const Tensor each = distance_ == "l1" ? (a - b).abs() : (a - b).square();
  const Tensor at_places = unit_length_ ? each.sum(1) : each.mean(1);
  return (distance_ == "cosine" ? 0.5 : 1) * at_places.reshape({a.size(0), -1}).mean(1);
}

}  // namespace casdm::metric_compose
