#pragma once

#include <optional>

#include "casdm/augmentation.h"
#include "options.h"
#include "resampler.h"

namespace casdm::augmentation_edm {

/// EDM's augmentation pipeline (Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative
/// Models", appendix F.2): whole-pixel changes, then one geometric transformation, then one of colours, each part
/// applied at random. With the defaults there are nine labels: xflip, yflip, scale, rotate_frac (2), aniso (2),
/// translate_frac (2).
///
/// An image to which nothing is applied stays unchanged bit for bit. Resampling and colour changes may leave [-1, 1];
/// as in EDM, values are not clamped.
class EdmAugmentation : public Augmentation {
 public:
  using Options = EdmAugmentationOptions;

  /// Throws ConfigError if colours are to be changed but images have neither 1 nor 3 channels.
  EdmAugmentation(const EdmAugmentationOptions& options, const Spec& spec);

  std::int64_t label_size() const override { return label_size_; }
  Augmented apply(const Tensor& images, const std::vector<std::uint64_t>& seeds) const override;

 private:
  Tensor transformed(Tensor image, const ImageDraw& draw) const;

  EdmAugmentationOptions options_;
  std::int64_t image_size_;
  std::int64_t label_size_;
  std::optional<Resampler> resampler_;  ///< absent if no geometric transformation is enabled
};

}  // namespace casdm::augmentation_edm
