#pragma once

#include <memory>
#include <string>

#include "casdm/feature_extractor.h"
#include "casdm/head_network.h"
#include "casdm/options.h"

namespace casdm::head_diffusion {

struct AlignmentOptions {
  ComponentConfig extractor;
  std::string feature;
  std::string tap;
  double weight = 0.5;
  std::int64_t projector_width = 512;
  Count until_images = 0;

  static void describe(Schema<AlignmentOptions>& s);
};

/// Three linear layers with silu in between, applied at each position.
class Projector final : public Network {
 public:
  Projector(std::int64_t in, std::int64_t hidden, std::int64_t out, std::uint64_t seed);

  /// @param x  [B, N, in]
  Tensor operator()(const Tensor& x) const;

 private:
  Tensor weights_[3], biases_[3];
};

/// Alignment of a network's inner features with those of a fixed extractor (REPA, Yu et al. 2025): a projector h is
/// trained with the network so that, over the positions p of the extractor's map of the clean image,
///
///     L = mean over p of 1 - cos(h(tap(x_t, t))_p, f(x0)_p)
///
/// is small. The tap is resized to the extractor's map; a feature without positions is compared with the tap's mean.
class FeatureAlignment {
 public:
  /// Throws ConfigError if the network does not have the tap or the extractor does not have the feature.
  FeatureAlignment(const AlignmentOptions& options, const CascadeHead::Spec& spec, const HeadNetwork& network);

  NamedModule module() const { return {"projector", projector_}; }
  const std::string& tap() const { return tap_.name; }

  /// Whether the alignment still has an effect.
  bool is_active(std::int64_t images_seen) const {
    return options_.until_images == 0 || images_seen < options_.until_images;
  }

  /// The term "alignment".
  /// @param tap  of the network at x_t, [B, ...]
  LossTerm term(const Tensor& tap, const Tensor& x0, const std::string& module) const;

 private:
  /// The tap as a map [B, width, rows, columns].
  Tensor map_of(const Tensor& tap) const;

  AlignmentOptions options_;
  ImageShape image_;
  TapInfo tap_;
  FeatureInfo feature_;
  std::shared_ptr<FeatureExtractor> extractor_;
  std::shared_ptr<Projector> projector_;
};

}  // namespace casdm::head_diffusion
