#include "inception_score.h"

#include <ATen/ATen.h>

#include "casdm/error.h"
#include "casdm/text.h"
#include "state.h"

namespace casdm::set_metrics {

namespace {

constexpr const char* kCounts = "counts";                   // [splits]
constexpr const char* kProbabilities = "probabilities";     // [splits, classes], sums over images
constexpr const char* kNegativeEntropy = "sum_of_p_log_p";  // [splits]
constexpr double kRounding = 1e-3;                          // of sums of probabilities in half precision

void require_probabilities(const Tensor& p) {
  const double lowest = p.min().item<double>(), off = (p.sum(1) - 1).abs().max().item<double>();
  if (lowest >= 0 && off <= kRounding) return;
  throw ConfigError(
      text("input = \"probabilities\": the feature holds none: ",
           lowest < 0 ? text("its lowest number is ", number(lowest)) : text("a sum is ", number(off), " off 1"),
           ". Choose a feature of probabilities, or input = \"logits\""));
}

}  // namespace

void InceptionScoreOptions::describe(Schema<InceptionScoreOptions>& s) {
  s.option("input", &InceptionScoreOptions::input, "What the feature holds.").choices({"logits", "probabilities"});
  s.option("split_size", &InceptionScoreOptions::split_size, "Consecutive images of a split.").range(1, 1e9);
  s.option(
       "splits", &InceptionScoreOptions::splits,
       "Largest number of splits; further images go to the first split again, and so on. Images of a split that is not "
       "full count in the first.")
      .range(1, 1000);
}

InceptionScore::InceptionScore(const Options& options, const Spec& spec)
    : options_(options), classes_(spec.feature.dimension) {
  require_pooled(spec.feature);
}

SetMetricInfo InceptionScore::info() const {
  return {.scores = {{"inception_score", false}}, .minimum_images = 2, .needs_reference = false};
}

NamedTensors InceptionScore::start() const {
  return {{kCounts, at::zeros({options_.splits}, at::kDouble)},
          {kProbabilities, at::zeros({options_.splits, classes_}, at::kDouble)},
          {kNegativeEntropy, at::zeros({options_.splits}, at::kDouble)}};
}

void InceptionScore::update(NamedTensors& state, const FeatureBatch& batch) const {
  const Tensor x = batch.features.to(at::kCPU, at::kDouble);
  const Tensor p = options_.input == "logits" ? x.softmax(1) : x;
  require_probabilities(p);
  const Tensor p_log_p = options_.input == "logits" ? p * x.log_softmax(1) : at::xlogy(p, p);
  const Tensor split = at::tensor(batch.images, at::kLong).div(options_.split_size, "floor").remainder(options_.splits);
  tensor_of(state, kCounts).index_add_(0, split, at::ones({x.size(0)}, at::kDouble));
  tensor_of(state, kProbabilities).index_add_(0, split, p);
  tensor_of(state, kNegativeEntropy).index_add_(0, split, p_log_p.sum(1));
}

void InceptionScore::merge(NamedTensors& state, const NamedTensors& other) const {
  for (auto& [name, tensor] : state) tensor.add_(tensor_of(other, name));
}

std::vector<Score> InceptionScore::compare(const NamedTensors& generated, const NamedTensors&) const {
  const Tensor is_full = tensor_of(generated, kCounts) >= options_.split_size;
  const Tensor full = is_full.nonzero().flatten(), rest = is_full.logical_not().nonzero().flatten();
  const auto by_split = [&](const char* name) {
    const Tensor& sums = tensor_of(generated, name);
    Tensor left = sums.index_select(0, rest).sum(0, /*keepdim=*/true);
    if (full.numel() == 0) return left;
    Tensor kept = sums.index_select(0, full);
    kept.narrow(0, 0, 1).add_(left);
    return kept;
  };
  const Tensor count = by_split(kCounts);
  const Tensor marginal = by_split(kProbabilities) / count.unsqueeze(1);
  const Tensor divergence = by_split(kNegativeEntropy) / count - at::xlogy(marginal, marginal).sum(1);
  return {{"inception_score", divergence.exp().mean().item<double>()}};
}

}  // namespace casdm::set_metrics
