#pragma once

#include <optional>
#include <string>
#include <vector>

#include "casdm/feature_extractor.h"
#include "casdm/options.h"
#include "convolution.h"

namespace casdm::feature_extractors {

struct InceptionOptions {
  std::string preparation = "tensorflow";
  std::optional<std::string> weights;

  static void describe(Schema<InceptionOptions>& s);
};

/// Inception v3 as TensorFlow's model of 2015-12-05, the network behind published FID, sFID and inception scores, in
/// the state that pytorch-fid ported. It is not torchvision's Inception: average pools leave the zeros around the image
/// out, the last block has a max pool, and there are 1008 classes.
class Inception : public NetworkOf<FeatureExtractor> {
 public:
  using Options = InceptionOptions;

  /// Throws ConfigError for images that are neither RGB nor grey, Error when the weights are missing or another
  /// network's.
  Inception(const Options& options, const Spec& spec);
  ExtractorInfo info() const override;
  NamedTensors extract(const Tensor& images, const std::vector<std::string>& names) override;

  enum class Pool { none, average, maximum, halving };

 private:
  /// A pool, convolutions in a row, then some side by side.
  struct Branch {
    Pool pool = Pool::none;
    std::vector<Convolution> row, fork;

    Tensor operator()(const Tensor& x) const;
  };
  /// Branches side by side.
  using Block = std::vector<Branch>;

  Tensor prepared(const Tensor& images) const;

  std::string preparation_, sha256_;
  std::int64_t channels_;
  std::vector<Convolution> stem_;
  std::vector<Block> blocks_;
  Tensor class_weight_, class_bias_;
};

}  // namespace casdm::feature_extractors
