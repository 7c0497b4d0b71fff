#pragma once

#include <ATen/core/Tensor.h>

#include "casdm/choice.h"
#include "casdm/options.h"

namespace casdm::head_diffusion {

/// How the simple loss weights timesteps.
enum class TimeWeight { uniform, snr, snr_plus_one, truncated_snr, min_snr, p2 };

constexpr auto choices_of(TimeWeight) {
  using enum TimeWeight;
  return choices<TimeWeight>({{uniform, "uniform"},
                              {snr, "snr"},
                              {snr_plus_one, "snr_plus_one"},
                              {truncated_snr, "truncated_snr"},
                              {min_snr, "min_snr"},
                              {p2, "p2"}});
}

/// What a single network predicts: noise, clean image, v or the velocity of a rectified flow.
enum class Prediction { epsilon, sample, v, flow };

constexpr auto choices_of(Prediction) {
  using enum Prediction;
  return choices<Prediction>({{epsilon, "epsilon"}, {sample, "sample"}, {v, "v_prediction"}, {flow, "flow"}});
}

/// The weight and its parameters; S = A/(1-A).
struct TimeWeightOptions {
  TimeWeight t_weight = TimeWeight::uniform;
  double snr_gamma = 5.0;
  double p2_k = 1.0;
  double p2_gamma = 1.0;

  template <class T>
  static void describe_to(Schema<T>& s) {
    s.template option<TimeWeight>(
         "t_weight", &T::t_weight,
         "Factor of the simple loss by t: uniform in the loss as it is, or of |x0 - x0'|^2 by the signal-to-noise "
         "ratio S: snr S, snr_plus_one S+1, truncated_snr max(S, 1), min_snr min(S, snr_gamma), p2 S/(p2_k + "
         "S)^p2_gamma.")
        .not_with("prediction_type", {"flow"})
        .not_with("loss_space")
        .not_with("objective", {"vlb"});
    s.template option<double>("snr_gamma", &T::snr_gamma, "Cap of t_weight = \"min_snr\".")
        .greater_than(0)
        .only_with("t_weight", {"min_snr"});
    s.template option<double>("p2_k", &T::p2_k, "Of t_weight = \"p2\": where its weight begins to fall, in S.")
        .greater_than(0)
        .only_with("t_weight", {"p2"});
    s.template option<double>("p2_gamma", &T::p2_gamma, "Of t_weight = \"p2\": how much it falls; 0: not.")
        .at_least(0)
        .only_with("t_weight", {"p2"});
  }
};

/// The factor c of |error|^2 = c |x0 - x0'|^2 for the error of `compared`, at one x_t = alpha x0 + sigma eps:
/// epsilon alpha^2/sigma^2, sample 1, v (alpha^2 + sigma^2)^2/sigma^2, flow (alpha + sigma)^2/sigma^2; shaped like
/// alpha.
at::Tensor error_factor(Prediction compared, const at::Tensor& alpha, const at::Tensor& sigma);

/// The factor of the loss in the predicted quantity at x_t = alpha x0 + sigma eps, shaped like alpha; not for t_weight
/// = "uniform". It is the weight of |x0 - x0'|^2 over error_factor, so one weight serves every prediction.
///   snr, snr_plus_one, truncated_snr   Salimans & Ho 2022, section 4
///   min_snr                            Hang et al. 2023, section 3.4
///   p2                                 Choi et al. 2022: 1/(k + S)^gamma on |eps - eps'|^2
at::Tensor time_weight(const TimeWeightOptions& options, const at::Tensor& alpha, const at::Tensor& sigma,
                       Prediction predicted);

}  // namespace casdm::head_diffusion
