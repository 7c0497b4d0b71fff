#include <ATen/ATen.h>

#include <cmath>

#include "casdm/error.h"
#include "casdm/log.h"
#include "casdm/metric_loss.h"
#include "casdm/parameter_maker.h"
#include "casdm/plugin.h"
#include "casdm/safetensors.h"
#include "casdm/text.h"

namespace {

using at::Tensor;

struct RandomFeaturesOptions {
  std::int64_t levels = 3;
  std::int64_t channels = 32;
  std::int64_t seed = 0;
  std::optional<std::filesystem::path> weights;

  static void describe(casdm::Schema<RandomFeaturesOptions>& s) {
    s.option("levels", &RandomFeaturesOptions::levels, "Number of feature maps, each half as large as the last.")
        .range(1, 8);
    s.option("channels", &RandomFeaturesOptions::channels, "Features of each.").range(1, 1024);
    s.option("seed", &RandomFeaturesOptions::seed, "Another seed makes another network.").at_least(0);
    s.option("weights", &RandomFeaturesOptions::weights, "A safetensors file with the network, instead of a seed.")
        .example("features.safetensors");
  }
};

/// The distance between two images in the features of a small fixed network with random weights. Untrained
/// networks already rank distortions better than pixels do (Zhang et al. 2018, table 5), and need no download.
///
/// f_k = softplus(conv3x3(pool(f_{k-1}))) are the features at level k, n(f) = f / |f| over the channels:
///
///     d(a, b) = mean_k mean_{h,w} |n(f_k(a)) - n(f_k(b))|^2
///
/// softplus is positive, so no norm is ever zero, and smooth, so the gradient is finite and continuous everywhere.
class RandomFeaturesLoss : public casdm::MetricLoss {
 public:
  using Options = RandomFeaturesOptions;

  RandomFeaturesLoss(const Options& options, const Spec& spec) : channels_(spec.image.channels) {
    const auto seed = static_cast<std::uint64_t>(options.seed);
    for (std::int64_t level = 0; level < options.levels; ++level) {
      const std::int64_t inputs = level == 0 ? spec.image.channels : options.channels;
      const std::string name = casdm::text("levels.", level);
      // He et al. 2015: the variance of the features stays the same from level to level.
      layers_.push_back({casdm::seeded_normal(seed, name + ".weight", {options.channels, inputs, 3, 3},
                                              std::sqrt(2.0 / (9 * inputs))),
                         casdm::seeded_normal(seed, name + ".bias", {options.channels}, 0.1)});
      buffers_.insert(buffers_.end(),
                      {{name + ".weight", layers_.back().weight}, {name + ".bias", layers_.back().bias}});
    }
    if (options.weights) {
      casdm::load_state(*this, casdm::read_safetensors(*options.weights).tensors, options.weights->string());
      casdm::Log("random_features").info("the network is that of ", casdm::quoted(options.weights->string()));
    }
  }

  // Buffers, not parameters: the host moves and saves them, and never trains them.
  casdm::NamedTensors buffers() const override { return buffers_; }

  // |n(a) - n(b)|^2 <= 2, since no feature is negative.
  casdm::MetricInfo info() const override {
    return {.highest = 2.0, .minimum_size = std::int64_t{1} << (layers_.size() - 1), .channels = channels_};
  }

  // The target's features need no gradient, so they are computed here, once per batch.
  std::vector<Tensor> prepare(const Tensor& target) override { return unit_features(target); }

  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override {
    const std::vector<Tensor> features = unit_features(prediction);
    Tensor sum = at::zeros({prediction.size(0)}, prediction.options());
    for (std::size_t level = 0; level < features.size(); ++level) {
      sum = sum + (features[level] - target[level]).square().sum(1).flatten(1).mean(1);
    }
    return sum / static_cast<double>(features.size());
  }

 private:
  std::vector<Tensor> unit_features(const Tensor& images) const {
    std::vector<Tensor> features;
    Tensor h = images;
    for (const casdm::LayerParameters& layer : layers_) {
      if (!features.empty()) h = at::avg_pool2d(h, 2);
      h = at::softplus(at::conv2d(h, layer.weight.to(h.scalar_type()), layer.bias.to(h.scalar_type()), 1, 1));
      features.push_back(h / h.square().sum(1, /*keepdim=*/true).sqrt());
    }
    return features;
  }

  std::int64_t channels_;
  std::vector<casdm::LayerParameters> layers_;
  casdm::NamedTensors buffers_;
};

}  // namespace

CASDM_PLUGIN(plugin) {
  plugin.describe({.summary = "An example: a metric with a network of its own", .licence = "Apache-2.0"});
  plugin.add<RandomFeaturesLoss>("random_features", "Distance in the features of a fixed random network.");
}
