#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "casdm/parameter_maker.h"

/// Operations that preserve the magnitude of activations (Karras et al. 2024, section 3): for independent inputs of
/// variance 1 the outputs have variance 1.
namespace casdm::unet {

using at::Tensor;

/// x scaled to a mean square of 1 over `dim`, in the dtype of x whatever autocast does with norms.
Tensor normalised_over(const Tensor& x, std::int64_t dim);

/// silu(x) / 0.596, of mean square 1 for normal x (equation 81).
Tensor magnitude_silu(const Tensor& x);

/// ((1 - t) a + t b) / sqrt((1 - t)^2 + t^2) (equation 88), in the dtype of a; under autocast that of b may differ.
Tensor magnitude_sum(const Tensor& a, const Tensor& b, double t);

/// Both concatenated along the channels, each scaled so that it contributes 1 - t or t to the magnitude (equation 103).
Tensor magnitude_cat(const Tensor& a, const Tensor& b, double t);

/// `weight` with rows of mean square 1; a layer then divides by the root of the fan-in (equation 47).
Tensor normalised_weight(const Tensor& weight);

/// Puts the rows of a stored weight back to mean square 1, in place and unseen by autograd, where steps of training
/// have made them longer: then a step turns them as much as the learning rate says (Karras et al. 2024, config E). A
/// row that has it already keeps its bits, and one of zeros stays.
void reset_rows(const Tensor& weight);

/// A linear or convolutional layer without bias, its weight normalised where it is used; square kernels keep the size.
struct MagnitudeLayer {
  Tensor weight;  ///< [out, in] or [out, in, k, k]; undefined: the identity

  MagnitudeLayer() = default;
  /// Draws the weight from N(0, 1).
  MagnitudeLayer(ParameterMaker& make, const std::string& name, at::IntArrayRef shape);
  /// @param gain  [] or undefined: 1
  Tensor operator()(const Tensor& x, const Tensor& gain = {}) const;
};

}  // namespace casdm::unet
