#include "casdm/plugin.h"

#include "ddim.h"
#include "ddpm.h"
#include "dpmpp.h"
#include "edm.h"
#include "unipc.h"

CASDM_PLUGIN(plugin) {
  using namespace casdm::sampler_diffusion;
  plugin.describe({.summary = "Samplers of diffusion models", .licence = "Apache-2.0"});
  plugin.add<DdpmSampler>("ddpm", "Ancestral sampling (Ho et al. 2020, algorithm 2), respaced when asked.");
  plugin.add<DdimSampler>("ddim", "Denoising diffusion implicit models (Song et al. 2021, equation 12).").recommended();
  plugin.add<Dpmpp2mSampler>("dpmpp_2m", "DPM-Solver++(2M) (Lu et al. 2022, algorithm 2).");
  plugin.add<Dpmpp2mSdeSampler>("dpmpp_2m_sde", "DPM-Solver++(2M) of the stochastic equation.");
  plugin.add<UniPcSampler>("unipc", "Predictor-corrector of orders 1 to 3 (Zhao et al. 2023).");
  plugin.add<EulerSampler>("euler", "Euler's method over noise levels (Karras et al. 2022).");
  plugin.add<HeunSampler>("heun", "Heun's method, second order, over noise levels (Karras et al. 2022, algorithm 1).");
}
