#pragma once

#include <cstdint>
#include <vector>

#include "casdm/choice.h"
#include "casdm/options.h"

namespace casdm::noise_beta {

/// The options that every schedule of this plugin has. `T` is num_train_timesteps throughout.
struct CommonOptions {
  std::int64_t num_train_timesteps = 1000;
  bool rescale_zero_terminal_snr = false;
};

/// Declares the common options as T's own; T derives from CommonOptions.
template <class T>
void describe_common(Schema<T>& s) {
  s.template option<std::int64_t>("num_train_timesteps", &T::num_train_timesteps, "Number of noise levels T.")
      .range(1, 1'000'000)
      .example(std::int64_t{4000});
  s.template option<bool>("rescale_zero_terminal_snr", &T::rescale_zero_terminal_snr,
                          "Shift and scale sqrt(A) so that the last timestep is pure noise, A_T = 0 (Lin et al. 2024, "
                          "algorithm 1). Meant for v- or x0-prediction: there eps does not determine the image.");
}

/// beta rises linearly (Ho et al. 2020), between the two ends, scaled by 1000/T so that A_T hardly depends on T (Nichol
/// & Dhariwal 2021).
struct LinearOptions : CommonOptions {
  double beta_start = 1e-4;
  double beta_end = 0.02;
  bool scale_with_timesteps = true;

  static void describe(Schema<LinearOptions>& s);
};

/// sqrt(beta) rises linearly (Rombach et al. 2022).
struct ScaledLinearOptions : CommonOptions {
  double beta_start = 0.00085;
  double beta_end = 0.012;

  static void describe(Schema<ScaledLinearOptions>& s);
};

/// A_t = f(t/T) / f(0), f(u) = cos^2((u + s) / (1 + s) pi/2) (Nichol & Dhariwal 2021, equation 17).
struct CosineOptions : CommonOptions {
  double offset = 0.008;
  double max_beta = 0.999;

  static void describe(Schema<CosineOptions>& s);
};

/// Two schedules go by this name:
/// "cumulative": A(u) = (S(end/tau) - S(v/tau)) / (S(end/tau) - S(start/tau)), v = start + u (end - start),
///   u = t/T, S the logistic function (Jabri et al. 2022, algorithm 2);
/// "betas": beta = S(-6..6) between beta_start and beta_end (Xu et al. 2022; diffusers' "sigmoid").
enum class SigmoidForm { cumulative, betas };

constexpr auto choices_of(SigmoidForm) {
  using enum SigmoidForm;
  return choices<SigmoidForm>({{cumulative, "cumulative"}, {betas, "betas"}});
}

/// The options of one form have no effect on the other.
struct SigmoidOptions : CommonOptions {
  SigmoidForm form = SigmoidForm::cumulative;
  double start = -3;
  double end = 3;
  double temperature = 1;
  double max_beta = 0.999;
  double beta_start = 1e-4;
  double beta_end = 0.02;

  static void describe(Schema<SigmoidOptions>& s);
};

/// The betas of each schedule, index 0 the least noise. They throw ConfigError if the options lead to a beta outside
/// (0, 1] or contradict each other.
std::vector<double> betas_of(const LinearOptions& options);
std::vector<double> betas_of(const ScaledLinearOptions& options);
std::vector<double> betas_of(const CosineOptions& options);
std::vector<double> betas_of(const SigmoidOptions& options);

}  // namespace casdm::noise_beta
