#pragma once

#include <optional>
#include <string>
#include <vector>

#include "casdm/choice.h"
#include "casdm/metric_loss.h"
#include "casdm/options.h"
#include "trunks/trunk_network.h"

namespace casdm::metric_lpips {

/// Which of the two forms of n below is used.
enum class Normalisation { safe, upstream };

constexpr auto choices_of(Normalisation) {
  using enum Normalisation;
  return choices<Normalisation>({{safe, "safe"}, {upstream, "upstream"}});
}

/// What LPIPS and ST-LPIPS have in common: the distance between two images' features in a trained
/// network. With f_k the features at tap k, n(f) = f scaled to length 1 over its channels, and w_k >= 0
/// a learned weight per channel:
///
///     d(x, y) = sum_k mean_{h,w} sum_c w_k,c (n(f_k(x)) - n(f_k(y)))^2
///
/// Two forms of n:
///  - "safe", f / sqrt(sum f^2 + 1e-10): its gradient is finite everywhere; the form to train with;
///  - "upstream", f / (sqrt(sum f^2) + 1e-10): the form published numbers are made with; its gradient
///    is NaN where features are so small that their squares are 0.
class PerceptualLoss : public MetricLoss {
 public:
  NamedTensors buffers() const override { return buffers_; }
  MetricInfo info() const override;
  std::vector<Tensor> prepare(const Tensor& target) override;
  Tensor distance(const Tensor& prediction, const std::vector<Tensor>& target) override;

 protected:
  struct Setup {
    trunks::Trunk trunk;
    std::string weights;    ///< file name or path of the safetensors file
    bool has_heads = true;  ///< false: every w_k,c is 1
    Normalisation normalisation = Normalisation::safe;
    std::int64_t resize_below = 0;  ///< width; 0: images are never resized
    std::int64_t resize_to = 0;
    trunks::MemoryFormat format = trunks::MemoryFormat::auto_;
  };

  /// Throws ConfigError for images that are neither RGB nor grey, Error if the weights do not fit.
  PerceptualLoss(const Setup& setup, const Spec& spec);

 private:
  /// Features at every tap, scaled to length 1 over the channels.
  std::vector<Tensor> unit_features(const Tensor& images) const;
  Tensor network_input(const Tensor& images) const;
  Tensor normalise(const Tensor& features) const;

  trunks::TrunkNetwork extract_;
  std::vector<Tensor> heads_;  ///< [1, channels, 1, 1]
  Tensor shift_, scale_;       ///< [1, 3, 1, 1]
  NamedTensors buffers_;
  Setup setup_;
  std::int64_t channels_;
};

enum class LpipsProfile { lpips, consistency_models };

constexpr auto choices_of(LpipsProfile) {
  using enum LpipsProfile;
  return choices<LpipsProfile>({{lpips, "lpips"}, {consistency_models, "consistency-models"}});
}

struct LpipsOptions {
  std::string net = "vgg16";
  std::optional<std::string> weights;
  bool lin = true;
  LpipsProfile profile = LpipsProfile::lpips;
  Normalisation normalisation = Normalisation::safe;
  trunks::MemoryFormat memory_format = trunks::MemoryFormat::auto_;

  static void describe(Schema<LpipsOptions>& s);
};

/// Learned perceptual image patch similarity (Zhang et al. 2018, arXiv 1801.03924).
class LpipsLoss : public PerceptualLoss {
 public:
  using Options = LpipsOptions;
  LpipsLoss(const Options& options, const Spec& spec);
};

struct StLpipsOptions {
  std::string net = "vgg16";
  std::optional<std::string> weights;
  Normalisation normalisation = Normalisation::safe;
  trunks::MemoryFormat memory_format = trunks::MemoryFormat::auto_;

  static void describe(Schema<StLpipsOptions>& s);
};

/// Shift-tolerant LPIPS (Ghildyal & Liu 2022, arXiv 2207.13686): trunks with blur pooling, so that
/// moving an image by a pixel moves the distance little.
class StLpipsLoss : public PerceptualLoss {
 public:
  using Options = StLpipsOptions;
  StLpipsLoss(const Options& options, const Spec& spec);
};

}  // namespace casdm::metric_lpips
