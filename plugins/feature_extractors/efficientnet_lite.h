#pragma once

#include <optional>
#include <string>
#include <vector>

#include "casdm/feature_extractor.h"
#include "casdm/options.h"
#include "convolution.h"

namespace casdm::feature_extractors {

/// EfficientNet-Lite (Tan & Le 2019, arXiv 1905.11946; the Lite form has ReLU6 and no squeeze-and-excitation), trained
/// to classify ImageNet. Its batch normalisations are folded into the convolutions.
class EfficientNetLite : public NetworkOf<FeatureExtractor> {
 public:
  ExtractorInfo info() const override;
  NamedTensors extract(const Tensor& images, const std::vector<std::string>& names) override;

 protected:
  struct Setup {
    int variant = 0;      ///< 0, 1 or 2
    std::string weights;  ///< name or path of the file
    std::int64_t size = 224;
    ExtractorResize resize = ExtractorResize::bicubic_antialias;
  };

  /// Throws ConfigError for images that are neither RGB nor grey, Error if the weights are missing or belong to another
  /// network.
  EfficientNetLite(const Setup& setup, const Spec& spec);

 private:
  /// An inverted bottleneck: 1x1 to more channels, k x k per channel, 1x1 to fewer.
  struct Block {
    std::optional<Convolution> expand;
    Convolution depthwise, project;
    std::int64_t stride = 1;
    bool has_skip = false;

    Tensor operator()(const Tensor& x) const;
  };

  Setup setup_;
  std::string sha256_;
  std::int64_t channels_;
  Convolution stem_, head_;
  std::vector<Block> blocks_;
  Tensor class_weight_, class_bias_;
};

template <int kVariant>
struct EfficientNetLiteOptions {
  std::optional<std::string> weights;
  std::int64_t size = kVariant == 0 ? 224 : kVariant == 1 ? 240 : 260;
  std::string resize = "bicubic_antialias";

  static void describe(Schema<EfficientNetLiteOptions>& s);
};

template <int kVariant>
class EfficientNetLiteOf : public EfficientNetLite {
 public:
  using Options = EfficientNetLiteOptions<kVariant>;
  EfficientNetLiteOf(const Options& options, const Spec& spec);
};

extern template class EfficientNetLiteOf<0>;
extern template class EfficientNetLiteOf<1>;
extern template class EfficientNetLiteOf<2>;

}  // namespace casdm::feature_extractors
