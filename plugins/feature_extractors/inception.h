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

/// Inception v3 in TensorFlow's version of 2015-12-05, the network behind published FID, sFID and inception scores,
/// with the weights that pytorch-fid ported. It is not torchvision's Inception: average pools exclude the padding, the
/// last block has a max pool, and there are 1008 classes.
class Inception : public NetworkOf<FeatureExtractor> {
 public:
  using Options = InceptionOptions;

  /// Throws ConfigError for images that are neither RGB nor grey, Error if the weights are missing or belong to another
  /// network.
  Inception(const Options& options, const Spec& spec);
  ExtractorInfo info() const override;
  NamedTensors extract(const Tensor& images, const std::vector<std::string>& names) override;

  enum class Pool { none, average, maximum, halving };

 private:
  /// A pool, then convolutions in sequence, then several in parallel.
  struct Branch {
    Pool pool = Pool::none;
    std::vector<Convolution> row, fork;

    Tensor operator()(const Tensor& x) const;
  };
  /// Parallel branches.
  using Block = std::vector<Branch>;

  Tensor prepared(const Tensor& images) const;

  std::string preparation_, sha256_;
  std::int64_t channels_;
  std::vector<Convolution> stem_;
  std::vector<Block> blocks_;
  Tensor class_weight_, class_bias_;
};

}  // namespace casdm::feature_extractors
