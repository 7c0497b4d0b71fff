#pragma once

#include "casdm/cascade_head.h"

namespace casdm::head_diffusion {

/// log of the learned variance between beta~_t (v = -1) and beta_t (v = 1)
/// (Nichol & Dhariwal 2021, eq. 15, with their v = (1 + ours) / 2).
Tensor learned_log_variance(const NoiseScheduler& schedule, const Tensor& v, const Tensor& t);

/// One timestep's term of the variational bound, bits per dimension [B]:
/// KL(q(x_{t-1} | x_t, x0) || p(x_{t-1} | x_t)) for t > 0; at t = 0 the negative log-likelihood of 8-bit images
/// under p, integrated over each level's interval.
/// @param x0  the model's clean image, unclipped; detach it if the bound must train only the variance
/// @param v   the network's variance output
Tensor variational_bound(const NoiseScheduler& schedule, const TrainingBatch& batch, const Tensor& x0, const Tensor& v);

}  // namespace casdm::head_diffusion
