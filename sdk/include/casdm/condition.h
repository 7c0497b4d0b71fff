#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "casdm/api.h"
#include "casdm/philox.h"

namespace casdm CASDM_API {

using at::Tensor;

/// A named array that comes with every image of a data set, beside image and label. Conventional names: "image", an
/// image to condition on; "context", a sequence of vectors or tokens; "context_mask", 1 where the context is valid.
struct ExtraInfo {
  std::string name = {};
  std::vector<std::int64_t> shape = {};  ///< of one image's array: {3, 16, 16}, {77, 512}, {} for a number
  bool is_image = false;                 ///< {C, H, W} in [-1, 1]: it is flipped with the image
  bool is_integer = false;               ///< int64, for tokens and indices; else float32
};

/// What a network can be given besides the image and the time. It travels whole from the data set to every backbone.
struct ConditionInfo {
  std::int64_t num_classes = 0;   ///< 0: no labels; else labels are in 0..num_classes-1, the null label included
  std::int64_t augment_size = 0;  ///< numbers per image in Condition::augment; 0: none
  std::vector<ExtraInfo> extras = {};
};

/// What a network is given besides the image and the time.
struct Condition {
  /// Class labels, int64 [B], on the images' device; undefined for unconditional networks.
  Tensor labels = {};
  /// What an augmentation did to the images, floating point [B, augment_size] (Karras et al. 2022, appendix F.2);
  /// undefined: nothing, as zeros.
  Tensor augment = {};
  /// The data set's extras, each [B, ...] on the images' device.
  std::map<std::string, Tensor> extras = {};
  /// Dropout in training mode; the default is none. Each module has its own seeds, so that no module's draws
  /// depend on another's.
  Dropout dropout = {};
};

}  // namespace casdm
