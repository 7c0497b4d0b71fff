#pragma once

#include "casdm/feature_extractor.h"
#include "casdm/options.h"

namespace casdm::feature_extractors {

struct PixelsOptions {
  std::int64_t size = 0;
  std::string resize = "bicubic_antialias";

  static void describe(Schema<PixelsOptions>& s);
};

/// The pixels themselves, in [-1, 1]: features without a network.
class Pixels : public FeatureExtractor {
 public:
  using Options = PixelsOptions;
  Pixels(const Options& options, const Spec& spec);
  ExtractorInfo info() const override;
  NamedTensors extract(const Tensor& images, const std::vector<std::string>& names) override;

 private:
  ImageShape image_;  ///< after resizing
  std::int64_t size_;
  ExtractorResize resize_;
};

}  // namespace casdm::feature_extractors
