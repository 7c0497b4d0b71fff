#include <ATen/ATen.h>

#include <algorithm>

#include "casdm/error.h"
#include "casdm/feature_extractor.h"
#include "casdm/moments_metric.h"
#include "casdm/plugin.h"

/// A feature extractor and a set metric that each violate the clause of their contract named by `fault`.
namespace {

using namespace casdm;

struct FaultOptions {
  std::string fault = "none";

  static void describe(Schema<FaultOptions>& s) {
    s.option("fault", &FaultOptions::fault, "What is wrong; none: nothing.");
  }
};

/// Colours at a quarter of the size, and their mean.
class ColourExtractor : public FeatureExtractor {
 public:
  using Options = FaultOptions;
  ColourExtractor(const Options& options, const Spec& spec) : fault_(options.fault), channels_(spec.image.channels) {}

  ExtractorInfo info() const override {
    return {.features = {{"mean", channels_ + (fault_ == "dimension" ? 1 : 0), false},
                         {fault_ == "twin" ? "mean" : "map", channels_, true}}};
  }

  NamedTensors parameters() const override {
    if (fault_ != "trains") return {};
    return {{"weight", weight_}};
  }

  NamedTensors extract(const Tensor& images, const std::vector<std::string>& names) override {
    ++calls_;
    Tensor x = images.to(at::kFloat);
    if (!images.is_floating_point() && fault_ != "bytes") x = x / 127.5 - 1;
    if (fault_ == "logarithm") x = x.log();
    if (fault_ == "batch") x = x + 0.1 * x.mean(0, /*keepdim=*/true);
    if (fault_ == "blind") x = x * 0 + 1;
    if (fault_ == "remembers") x = x + static_cast<double>(calls_);
    if (fault_ == "detached") x = x.detach();
    const Tensor map = at::avg_pool2d(x, {4, 4});
    NamedTensors result;
    for (const std::string& name : fault_ == "all" ? std::vector<std::string>{"mean", "map"} : names) {
      result.emplace_back(name, name == "map" ? map : map.mean({2, 3}));
    }
    return result;
  }

 private:
  std::string fault_;
  std::int64_t channels_;
  std::int64_t calls_ = 0;
  Tensor weight_ = at::ones({1}).requires_grad_(true);
};

/// Distance between the means of the features.
class MeanDistance : public MomentsMetric {
 public:
  using Options = FaultOptions;
  MeanDistance(const Options& options, const Spec& spec) : fault_(options.fault), spec_(spec) {
    if (spec.feature.is_spatial && fault_ != "spatial") throw ConfigError("mean_distance takes no spatial features");
  }

  SetMetricInfo info() const override {
    return {.scores = {{"distance", fault_ != "upside_down", false}}, .minimum_images = 1};
  }

  NamedTensors from_moments(const Moments& moments) const override {
    NamedTensors state = start();
    const double count = fault_ == "needs_the_number" ? static_cast<double>(moments.images)
                         : moments.images > 0         ? static_cast<double>(moments.images)
                                                      : 2.0;
    state[0].second.fill_(count);
    for (const int i : {1, 2}) state[static_cast<std::size_t>(i)].second.copy_(moments.mean * std::max(count, 1.0));
    return state;
  }

  Moments moments(const NamedTensors& state) const override {
    const Tensor mean = state[2].second / state[0].second;
    const auto count = static_cast<std::int64_t>(state[0].second.item<double>());
    return {mean, at::eye(mean.size(0), at::kDouble), fault_ == "miscounts" ? count + 1 : count};
  }

  NamedTensors start() const override {
    const Tensor sum = at::zeros({spec_.feature.dimension}, at::kDouble);
    return {{"count", at::zeros({1}, at::kDouble)},
            {"sum", sum},
            {"total", fault_ == "alias" ? sum : sum.clone()},
            {"kept", at::zeros({0, spec_.feature.dimension}, at::kDouble)}};
  }

  void update(NamedTensors& state, const FeatureBatch& batch) const override {
    Tensor features = batch.features.to(at::kDouble);
    if (fault_ == "spatial") features = features.mean({2, 3}).log();
    if (fault_ == "first_come" && state[0].second.item<double>() >= 32) return;
    if (fault_ == "keeps_all") state[3].second = at::cat({state[3].second, features});
    state[0].second.add_(static_cast<double>(batch.images.size()));
    state[1].second.add_(features.sum(0));
    if (fault_ != "alias") state[2].second.add_(features.sum(0));
    if (fault_ == "changes") Tensor(batch.features).zero_();
  }

  void merge(NamedTensors& state, const NamedTensors& other) const override {
    state[0].second.add_(other[0].second);
    state[1].second.add_(other[1].second);
    if (fault_ != "alias") state[2].second.add_(other[2].second);
    if (fault_ == "takes") other[0].second.zero_();
    if (fault_ == "forgets") state[0].second.copy_(other[0].second);
  }

  std::vector<Score> compare(const NamedTensors& generated, const NamedTensors& reference) const override {
    ++calls_;
    const auto mean = [](const NamedTensors& state) { return state[2].second / state[0].second; };
    double value = (mean(generated) - mean(reference)).norm().item<double>();
    if (fault_ == "remembers") value += static_cast<double>(calls_);
    std::vector<Score> scores = {{"distance", value}};
    if (fault_ == "undeclared") scores.push_back({"square", value * value});
    return scores;
  }

 private:
  std::string fault_;
  Spec spec_;
  mutable std::int64_t calls_ = 0;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "Sets of images, judged wrongly", .licence = "Apache-2.0"});
  plugin.add<ColourExtractor>("colours", "Colours of the image.");
  plugin.add<MeanDistance>("mean_distance", "Distance of means.");
}
