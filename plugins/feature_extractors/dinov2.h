#pragma once

#include <optional>
#include <string>
#include <vector>

#include "casdm/feature_extractor.h"
#include "casdm/options.h"
#include "casdm/safetensors.h"

namespace casdm::feature_extractors {

struct Dinov2Options {
  std::string weights = "dinov2_vits14.safetensors";
  std::int64_t size = 224;

  static void describe(Schema<Dinov2Options>& s);
};

/// DINOv2 (Oquab et al. 2023, arXiv 2304.07193): a vision transformer with patches of 14 px, trained without labels.
/// The weights file decides which variant it is: ViT-S, -B or -L, with or without registers (Darcet et al. 2023, arXiv
/// 2309.16588). Positions are interpolated to the size of the images as in the authors' code.
///
/// Features are the class token and the patch tokens after the last block, and after any other block i = 1, 2, ... as
/// `class_token_<i>` and `patch_tokens_<i>`; the last normalisation is applied to all of them.
class Dinov2 : public NetworkOf<FeatureExtractor> {
 public:
  using Options = Dinov2Options;

  /// Throws ConfigError for images that are neither RGB nor grey or a size that is not a multiple of 14, Error if the
  /// weights are missing or belong to another network.
  Dinov2(const Options& options, const Spec& spec);
  ExtractorInfo info() const override;
  NamedTensors extract(const Tensor& images, const std::vector<std::string>& names) override;

 private:
  struct Linear {
    Tensor weight, bias;
    Tensor operator()(const Tensor& x) const;
  };
  struct Norm {
    Tensor weight, bias;
    Tensor operator()(const Tensor& x) const;
  };
  struct Block {
    Norm norm1, norm2;
    Linear qkv, project, expand, contract;
    Tensor scale1, scale2;  ///< per channel, for the output of each half of the block
    Tensor operator()(const Tensor& x) const;
  };

  /// Reads the tensor `name` of the file as a float32 buffer.
  Tensor take(const TensorFile& file, const std::string& name);
  Linear take_linear(const TensorFile& file, const std::string& name);
  Norm take_norm(const TensorFile& file, const std::string& name);
  Tensor positions() const;

  std::int64_t size_, channels_;
  std::string sha256_;
  Linear patches_;
  Tensor class_token_, positions_, registers_;
  std::vector<Block> blocks_;
  Norm norm_;
};

}  // namespace casdm::feature_extractors
