#include "casdm/plugin.h"

#include "log_normal.h"
#include "logit_normal.h"
#include "loss_second_moment.h"
#include "uniform.h"

CASDM_PLUGIN(plugin) {
  using namespace casdm::timesteps_diffusion;
  plugin.describe({.summary = "Distributions of the timesteps in training", .licence = "Apache-2.0"});
  plugin.add<UniformTimesteps>("uniform", "Every timestep equally likely, each image by itself or spread over a batch.")
      .recommended();
  plugin.add<LossSecondMomentTimesteps>(
      "loss_second_moment", "In proportion to the loss at each timestep, weighted back (Nichol & Dhariwal 2021).");
  plugin.add<LogitNormalTimesteps>("logit_normal", "The middle of the diffusion most (Esser et al. 2024).");
  plugin.add<LogNormalTimesteps>("log_normal",
                                 "The logarithm of the noise level is normally distributed (Karras et al. 2022).");
}
