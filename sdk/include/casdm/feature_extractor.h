#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/api.h"
#include "casdm/image_shape.h"
#include "casdm/module.h"

namespace casdm CASDM_API {

/// One output of a feature extractor.
struct FeatureInfo {
  std::string name;            ///< "pool3", "patch_tokens"; unique within its extractor
  std::int64_t dimension = 0;  ///< numbers per image, or per place of a spatial feature; at least 1
  bool is_spatial = false;     ///< [B, dimension, h, w] instead of [B, dimension]
};

/// How an extractor resizes images. Each name is an exact method, since scores of two methods are not
/// comparable: "tf1_bilinear" is TensorFlow 1's without aligned corners, "bicubic_antialias" Pillow's.
enum class ExtractorResize { none, bilinear, tf1_bilinear, bicubic_antialias };

/// What an extractor declares about itself; checked by the conformance tests, and kept beside every score.
struct ExtractorInfo {
  std::vector<FeatureInfo> features;  ///< at least one
  std::int64_t input_size = 0;  ///< height and width in pixels that images are resized to; 0: any size, as it comes
  ExtractorResize resize = ExtractorResize::none;
  std::int64_t channels = 0;      ///< number of channels it needs; 0: any
  bool is_quantised = false;      ///< rounds floating-point images to 8 bit first
  bool is_differentiable = true;  ///< gradients reach the images
  std::string trained_on = {};    ///< "ImageNet-1k, classification"; empty: not trained
  std::string weights = {};       ///< SHA-256 of the file of its weights; empty: no weights
  std::string citation = {};
  std::string licence = {};  ///< of the weights
};

/// A network that turns images into features: the judge of generated images, the trunk of a perceptual metric, or the
/// target of a network's inner features.
///
/// Its weights are buffers and never change; gradients flow to the images alone, unless `info` says not. The features
/// of an image depend on that image alone. Values are finite for every finite image, also outside [-1, 1]. One thread
/// calls it at a time. It must not touch the global generator or grad mode.
///
///     NamedTensors extract(const Tensor& images, const std::vector<std::string>& names) override {
///       const Tensor trunk = trunk_.forward(resized(as_float(images)));
///       ...
///     }
class FeatureExtractor : public Module {
 public:
  using Interface = FeatureExtractor;
  static constexpr std::string_view kind = "feature_extractor";
  static constexpr int interface_version = 2;

  struct Spec {
    ImageShape image = {};   ///< of the images; the constructor throws ConfigError when it cannot take them
    std::uint64_t seed = 0;  ///< of weights that are drawn
  };

  ~FeatureExtractor() override;

  virtual ExtractorInfo info() const = 0;

  /// The features `names`, in this order, each once; what is not asked for need not be computed.
  ///
  /// @param images  [B, C, H, W]: floating point with pixels in [-1, 1], or uint8, where v stands for v / 127.5 - 1
  /// @param names   of features in `info`; the host has checked them
  /// @return        [B, dimension], or [B, dimension, h, w] of spatial features; floating point, on the images' device
  virtual NamedTensors extract(const Tensor& images, const std::vector<std::string>& names) = 0;
};

}  // namespace casdm
