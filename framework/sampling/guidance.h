#pragma once

#include "framework/composition/model.h"

namespace casdm {

/// The scale at timestep `t` (from 0, may be fractional): `options.scale` where (t + 1) / T is within
/// `options.interval`, else 1 (Kynkäänniemi et al. 2024).
double guidance_scale(const GuidanceOptions& options, double t, std::int64_t num_train_timesteps);

/// The head's estimate at `labels` with the model's classifier-free guidance (Ho & Salimans 2022):
///
///     eps = eps(none) + scale (eps(label) - eps(none)),    x0* and x0' likewise.
///
/// All three are affine in each other at a given x_t, so they stay consistent. The gate and the learned variance are
/// those of the label: they are bounded, and a step beyond the label would leave their range.
/// Scale 1 is the head's estimate at `labels`, scale 0 its estimate at "no label", each from one evaluation and to the
/// last bit; other scales evaluate the head once on a batch of both.
///
/// Throws PluginError when a tensor of the head's estimate has another shape than it must, or is not floating point.
/// @param x_t     [B, C, H, W]
/// @param t       of all images, from 0, may be fractional
/// @param labels  int64 [B] on the device of x_t; undefined for unconditional networks
Estimate guided_estimate(const Model& model, const Tensor& x_t, double t, const Tensor& labels);

}  // namespace casdm
