#pragma once

#include <optional>
#include <string>
#include <vector>

#include "casdm/feature_extractor.h"
#include "casdm/options.h"
#include "trunks/trunk_network.h"

namespace casdm::feature_extractors {

struct TrunkOptions {
  std::string trunk = "st_lpips";
  std::optional<std::string> weights;
};

struct Vgg16Options : TrunkOptions {
  static void describe(Schema<Vgg16Options>& s);
};

struct AlexNetOptions : TrunkOptions {
  static void describe(Schema<AlexNetOptions>& s);
};

/// The convolutional trunk of a perceptual metric, with the metric's taps as spatial features and the means of the last
/// tap as `pooled`.
class TrunkExtractor : public FeatureExtractor {
 public:
  NamedTensors buffers() const override { return buffers_; }
  ExtractorInfo info() const override;
  NamedTensors extract(const Tensor& images, const std::vector<std::string>& names) override;

 protected:
  /// @param taps  their names
  /// Throws ConfigError for images that are too small or neither RGB nor grey, Error if the weights are missing or
  /// belong to another network.
  TrunkExtractor(const std::string& net, std::vector<std::string> taps, const TrunkOptions& options, const Spec& spec);

 private:
  trunks::Trunk trunk_;
  trunks::TrunkNetwork network_;
  std::vector<std::string> taps_;
  std::string sha256_, licence_;
  std::int64_t channels_;
  Tensor shift_, scale_;  ///< [1, 3, 1, 1]
  NamedTensors buffers_;
};

class Vgg16 : public TrunkExtractor {
 public:
  using Options = Vgg16Options;
  Vgg16(const Options& options, const Spec& spec)
      : TrunkExtractor("vgg16", {"relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"}, options, spec) {}
};

class AlexNet : public TrunkExtractor {
 public:
  using Options = AlexNetOptions;
  AlexNet(const Options& options, const Spec& spec)
      : TrunkExtractor("alexnet", {"relu1", "relu2", "relu3", "relu4", "relu5"}, options, spec) {}
};

}  // namespace casdm::feature_extractors
