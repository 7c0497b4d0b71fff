#include <ATen/ATen.h>

#include <limits>

#include "casdm/error.h"
#include "casdm/feature_extractor.h"
#include "casdm/metric_loss.h"
#include "casdm/moments_metric.h"
#include "casdm/plugin.h"
#include "casdm/safetensors.h"

/// Judges whose scores are easy to predict, and a metric computed by the network of one of them.
namespace {

using namespace casdm;

/// The "network" of both, as a weights file would contain it.
Tensor network() { return at::arange(512, at::kFloat).sin(); }

/// A filter that is the same for each channel, as in many otherwise unrelated networks.
Tensor blur() { return at::tensor({1.0F, 2.0F, 1.0F}).expand({100, 1, 3}).clone(); }

struct CellsOptions {
  std::string fault = "none";
  bool is_trained = false;
  std::string weights = "cells.safetensors";
  std::string resize = "none";
  bool shows_tf32 = false;

  static void describe(Schema<CellsOptions>& s) {
    s.option("fault", &CellsOptions::fault, "What is wrong.")
        .choices({"none", "not_a_number", "no_weights", "reused_memory", "other_name", "one_row", "remembers",
                  "none_declared", "no_dimension", "meta", "changes", "undefined"});
    s.option("is_trained", &CellsOptions::is_trained, "It has a network.");
    s.option("weights", &CellsOptions::weights, "Where its network would be; not read.");
    s.option("resize", &CellsOptions::resize, "What it says of its resize.").choices({"none", "bilinear"});
    s.option("shows_tf32", &CellsOptions::shows_tf32, "Each feature is 1 where a GPU may use TF32, else 0.");
  }
};

bool may_use_tf32() {
  const auto of = [](at::Float32Op op) { return at::globalContext().float32Precision(at::Float32Backend::CUDA, op); };
  return of(at::Float32Op::CONV) == at::Float32Precision::TF32 ||
         of(at::Float32Op::MATMUL) == at::Float32Precision::TF32;
}

/// Means of the channels in the four quarters of an image; also as a spatial feature.
class CellsExtractor : public FeatureExtractor {
 public:
  using Options = CellsOptions;
  CellsExtractor(const Options& options, const Spec& spec) : options_(options), channels_(spec.image.channels) {
    if (options.fault == "no_weights") find_weights("no_such_judge.safetensors");
  }

  ExtractorInfo info() const override {
    ExtractorInfo info{.features = {{"quarters", 4 * channels_, false}, {"map", channels_, true}}};
    if (options_.fault == "none_declared") info.features.clear();
    if (options_.fault == "no_dimension") info.features[0].dimension = -3;
    if (options_.resize == "bilinear") info.resize = ExtractorResize::bilinear;
    if (options_.is_trained) info.weights = std::string(64, 'a');
    return info;
  }

  NamedTensors buffers() const override {
    if (options_.fault == "undefined") return {{"blur", Tensor()}};
    if (!options_.is_trained) return {{"blur", blur_}};
    return {{"blur", blur_}, {"network", network_}};
  }

  NamedTensors extract(const Tensor& images, const std::vector<std::string>& names) override {
    const Tensor x = images.is_floating_point() ? images : images.to(at::kFloat) / 127.5 - 1;
    Tensor map = at::adaptive_avg_pool2d(x, {2, 2});
    if (options_.shows_tf32) map = at::full_like(map, may_use_tf32() ? 1 : 0);
    if (options_.fault == "one_row") map = map.narrow(0, 0, 1);
    if (options_.fault == "remembers") blur_.add_(1);
    if (options_.fault == "meta") map = map.to(at::kMeta);
    if (options_.fault == "changes") Tensor(images).detach().zero_();
    if (options_.fault == "not_a_number") map = map * std::numeric_limits<float>::quiet_NaN();
    if (options_.fault == "reused_memory") {
      if (kept_.defined() && kept_.sizes() == map.sizes()) map = kept_.copy_(map);
      kept_ = map;
    }
    NamedTensors result;
    for (const std::string& name : names) {
      result.emplace_back(options_.fault == "other_name" ? "other" : name, name == "map" ? map : map.flatten(1));
    }
    return result;
  }

 private:
  Options options_;
  std::int64_t channels_;
  Tensor network_ = network();
  Tensor blur_ = blur();
  Tensor kept_;  ///< the last result
};

struct NoOptions {
  static void describe(Schema<NoOptions>&) {}
};

/// |mean - mean'|^2 + |covariance - covariance'|^2.
class MomentsGap : public MomentsMetric {
 public:
  using Options = NoOptions;
  MomentsGap(const Options&, const Spec& spec) : dimension_(spec.feature.dimension) {
    if (spec.feature.is_spatial) throw ConfigError("moments_gap compares features without places");
  }

  SetMetricInfo info() const override { return {.scores = {{"gap"}, {"overlap", false, true}}, .minimum_images = 2}; }

  NamedTensors start() const override {
    return {{"count", at::zeros({}, at::kDouble)},
            {"sum", at::zeros({dimension_}, at::kDouble)},
            {"products", at::zeros({dimension_, dimension_}, at::kDouble)}};
  }

  void update(NamedTensors& state, const FeatureBatch& batch) const override {
    const Tensor features = batch.features.to(at::kCPU, at::kDouble);
    state[0].second += features.size(0);
    state[1].second += features.sum(0);
    state[2].second += features.t().matmul(features);
  }

  void merge(NamedTensors& state, const NamedTensors& other) const override {
    for (std::size_t i = 0; i < state.size(); ++i) state[i].second += other[i].second;
  }

  std::vector<Score> compare(const NamedTensors& generated, const NamedTensors& reference) const override {
    const Moments a = moments(generated), b = moments(reference);
    const double gap = ((a.mean - b.mean).square().sum() + (a.covariance - b.covariance).square().sum()).item<double>();
    return {{"gap", gap}, {"overlap", 1 / (1 + gap), 0.25}};
  }

  NamedTensors from_moments(const Moments& moments) const override {
    const std::int64_t n = moments.images > 0 ? moments.images : 2;
    const Tensor count = at::full({}, static_cast<double>(n), at::kDouble);
    const Tensor outer = moments.mean.outer(moments.mean);
    return {{"count", count},
            {"sum", moments.mean * static_cast<double>(n)},
            {"products", moments.covariance * static_cast<double>(n - 1) + outer * static_cast<double>(n)}};
  }

  Moments moments(const NamedTensors& state) const override {
    const double n = state[0].second.item<double>();
    const Tensor mean = state[1].second / n;
    return {mean, (state[2].second - mean.outer(mean) * n) / (n - 1), static_cast<std::int64_t>(n)};
  }

 private:
  std::int64_t dimension_;
};

struct FaultyGapOptions {
  std::string fault = "none";

  static void describe(Schema<FaultyGapOptions>& s) {
    s.option("fault", &FaultyGapOptions::fault, "What is wrong.")
        .choices({"none", "changes", "name", "error", "changes_set", "changes_reference", "loses", "renames", "empty",
                  "moments_in_place", "moments_nan", "from_empty", "from_fewer", "from_in_place"});
  }
};

/// MomentsGap with a fault.
class FaultyGap final : public MomentsGap {
 public:
  using Options = FaultyGapOptions;
  FaultyGap(const Options& options, const Spec& spec) : MomentsGap({}, spec), fault_(options.fault) {}

  SetMetricInfo info() const override {
    SetMetricInfo info = MomentsGap::info();
    if (fault_ == "name") info.scores[0].name = "gap\nfake";
    return info;
  }

  void update(NamedTensors& state, const FeatureBatch& batch) const override {
    MomentsGap::update(state, batch);
    if (fault_ == "changes") Tensor(batch.features).zero_();
    if (fault_ == "loses") state.clear();
    if (fault_ == "renames") state.front().first = "renamed";
  }

  NamedTensors start() const override { return fault_ == "empty" ? NamedTensors() : MomentsGap::start(); }

  Moments moments(const NamedTensors& state) const override {
    Moments moments = MomentsGap::moments(state);
    if (fault_ == "moments_in_place") state[1].second.div_(2);
    if (fault_ == "moments_nan") moments.mean /= 0;
    return moments;
  }

  NamedTensors from_moments(const Moments& moments) const override {
    NamedTensors state = MomentsGap::from_moments(moments);
    if (fault_ == "from_in_place") moments.mean.zero_();
    if (fault_ == "from_fewer") state.pop_back();
    return fault_ == "from_empty" ? NamedTensors() : state;
  }

  std::vector<Score> compare(const NamedTensors& generated, const NamedTensors& reference) const override {
    std::vector<Score> scores = MomentsGap::compare(generated, reference);
    if (fault_ == "error") scores[1].standard_error = -0.25;
    if (fault_ == "changes_set") generated[0].second.zero_();
    if (fault_ == "changes_reference") reference[0].second.zero_();
    return scores;
  }

 private:
  std::string fault_;
};

/// A training metric with the same network.
class CellsLoss : public MetricLoss {
 public:
  using Options = NoOptions;
  CellsLoss(const Options&, const Spec&) {}
  MetricInfo info() const override { return {}; }
  NamedTensors buffers() const override { return {{"trunk", network_}, {"filter", blur_}}; }
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    return at::adaptive_avg_pool2d(prediction - target[0], {2, 2}).square().flatten(1).mean(1);
  }

 private:
  Tensor network_ = network();
  Tensor blur_ = blur();
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "Judges of tests", .licence = "Apache-2.0"});
  plugin.add<CellsExtractor>("cells", "Colours of the quarters of an image.");
  plugin.add<MomentsGap>("moments_gap", "Distance of means and covariances.");
  plugin.add<FaultyGap>("faulty_gap", "The same with a fault.");
  plugin.add<CellsLoss>("cells_loss", "Distance of the colours of quarters.");
}
