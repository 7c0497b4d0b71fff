#pragma once

#include "framework/composition/model.h"

namespace casdm {

/// The scale at a fraction of the path (NoiseScheduler::fraction): `options.scale` inside `options.interval`, else 1
/// (Kynkäänniemi et al. 2024).
double guidance_scale(const GuidanceOptions& options, double fraction);

/// The head's estimate at `labels` with the model's classifier-free guidance (Ho & Salimans 2022):
///
///     eps = eps(none) + scale (eps(label) - eps(none)),    x0* and x0' likewise.
///
/// All three are affine in each other at a given x_t, so they stay consistent. The gate and the learned variance are
/// those of the label: they are bounded, and extrapolation would leave their range. Scale 1 is the head's estimate at
/// `labels`, scale 0 its estimate at "no label", each from one evaluation and bit for bit; other scales evaluate the
/// head once on a batch of both.
///
/// Throws PluginError if a tensor of the head's estimate has a wrong shape or is not floating point.
/// @param x_t        [B, C, H, W]
/// @param step       the same for all images
/// @param condition  of the images, on the device of x_t; no labels for unconditional networks
Estimate guided_estimate(const Model& model, const Tensor& x_t, const SampleStep& step, const Condition& condition);

}  // namespace casdm
