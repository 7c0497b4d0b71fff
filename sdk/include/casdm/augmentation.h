#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "casdm/api.h"
#include "casdm/image_shape.h"

namespace casdm CASDM_API {

using at::Tensor;

/// Images after an augmentation, and what was done to each.
struct Augmented {
  Tensor images;  ///< [B, C, H, W], like the input; what resampling or colours do may leave [-1, 1]
  Tensor labels;  ///< [B, label_size()], 0 where nothing was done; undefined when label_size() is 0
};

/// A random change of training images, before noise is added.
///
/// With labels, the networks are given what was done (Condition::augment), and zeros in sampling, so
/// that the change does not leak into the samples (Karras et al. 2022, appendix F.2).
/// One thread calls it at a time, without gradient.
class Augmentation {
 public:
  using Interface = Augmentation;
  static constexpr std::string_view kind = "augmentation";
  static constexpr int interface_version = 2;

  struct Spec {
    ImageShape image = {};
  };

  virtual ~Augmentation();

  /// Numbers per image that say what was done; 0: the networks are not given any.
  virtual std::int64_t label_size() const = 0;

  /// @param images  [B, C, H, W] in [-1, 1]
  /// @param seeds   one per image; everything random about an image is a function of its seed alone
  virtual Augmented apply(const Tensor& images, const std::vector<std::uint64_t>& seeds) const = 0;
};

}  // namespace casdm
