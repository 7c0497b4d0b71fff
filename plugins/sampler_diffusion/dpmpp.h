#pragma once

#include <vector>

#include "noise_levels.h"

namespace casdm::sampler_diffusion {

struct Dpmpp2mOptions : NoiseLevelOptions {
  Dpmpp2mOptions() { spacing = LevelSpacing::trailing; }
  static void describe(Schema<Dpmpp2mOptions>& s);
};

struct Dpmpp2mSdeOptions : NoiseLevelOptions {
  double eta = 1;

  Dpmpp2mSdeOptions() { spacing = LevelSpacing::trailing; }
  static void describe(Schema<Dpmpp2mSdeOptions>& s);
};

/// DPM-Solver++(2M) (Lu et al. 2022b, algorithm 2) and, for eta > 0, its stochastic form. From level s
/// to level t, with h = lambda_t - lambda_s and the step before it h':
///
///     D   = x0_s + h / (2 h') (x0_s - x0_before)         first and last step: D = x0_s
///     x_t = sigma_t/sigma_s e^{-eta h} x_s + alpha_t (1 - e^{-(1+eta) h}) D + sigma_t sqrt(1 - e^{-2 eta h}) z
///
/// x is alpha x0 + sigma eps as in the forward process. Also defined for A_T = 0 (lambda = -infinity).
class Dpmpp2mSolver : public Sampler {
 public:
  Dpmpp2mSolver(const NoiseLevelOptions& options, double eta, const Spec& spec);

  const std::vector<SampleStep>& plan() const override { return plan_; }
  double initial_scale() const override { return initial_scale_; }
  void start() override { x0_before_.reset(); }
  Tensor step(const StepInput& input) override;

 private:
  CleanImage clean_image_;
  double eta_;
  std::vector<SampledLevel> levels_;
  double initial_scale_;
  std::vector<SampleStep> plan_;
  Tensor x0_before_;
};

class Dpmpp2mSampler final : public Dpmpp2mSolver {
 public:
  using Options = Dpmpp2mOptions;
  Dpmpp2mSampler(const Options& options, const Spec& spec) : Dpmpp2mSolver(options, 0, spec) {}
};

class Dpmpp2mSdeSampler final : public Dpmpp2mSolver {
 public:
  using Options = Dpmpp2mSdeOptions;
  Dpmpp2mSdeSampler(const Options& options, const Spec& spec) : Dpmpp2mSolver(options, options.eta, spec) {}
};

}  // namespace casdm::sampler_diffusion
