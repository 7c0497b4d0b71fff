#pragma once

#include <string>
#include <vector>

#include "casdm/api.h"
#include "casdm/condition.h"

namespace casdm CASDM_API {

/// What a head believes about the clean image behind x_t. All tensors [B, C, H, W] unless said.
struct Estimate {
  Tensor eps = {};          ///< predicted noise
  Tensor x0_from_eps = {};  ///< x0*: the clean image that `eps` implies
  Tensor x0 = {};           ///< x0': the clean image predicted directly; undefined where there is none
  Tensor gate = {};         ///< r_t, broadcastable to x0: weight of x0' against x0*; undefined without x0
  Tensor variance = {};     ///< learned variance: v in [-1, 1] between beta~_t and beta_t (in log); undefined: fixed
};

/// What a head is given to make an estimate.
struct EstimateInput {
  Tensor x_t = {};  ///< [B, C, H, W] float32 (or float64)
  Tensor t = {};    ///< [B] int64 or floating point, on the device of x_t; may lie between timesteps
  /// [B] likewise: where the sampler's step leads, the path's clean time for the last; undefined: not known.
  Tensor t_next = {};
  Condition condition = {};
};

/// How an estimate's clean images are clipped to the range of images.
enum class Clip {
  none,
  each,   ///< x0* and x0' each to [-1, 1], then mixed
  mixed,  ///< the mixture to [-1, 1]
};

/// The values of a `clip` option ("none", "each", "mixed"), and their meaning.
std::vector<std::string> clip_names();
Clip clip_from(const std::string& name);

/// The clean image that stands for the whole estimate: r x0' + (1-r) x0*, or the only one defined.
/// Mixing clean images equals mixing posterior means or DDIM means (both are linear in x0).
Tensor mixed_x0(const Estimate& estimate, Clip clip);

}  // namespace casdm
