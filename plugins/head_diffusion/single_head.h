#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "alignment.h"
#include "casdm/cascade_head.h"
#include "casdm/choice.h"
#include "casdm/head_network.h"
#include "t_weight.h"

namespace casdm::head_diffusion {

enum class LearnedVariance { fixed, learned_range };

constexpr auto choices_of(LearnedVariance) {
  using enum LearnedVariance;
  return choices<LearnedVariance>({{fixed, "fixed"}, {learned_range, "learned_range"}});
}

enum class Objective { simple, vlb };

constexpr auto choices_of(Objective) {
  using enum Objective;
  return choices<Objective>({{simple, "simple"}, {vlb, "vlb"}});
}

struct SingleOptions : TimeWeightOptions {
  ComponentConfig theta;
  Prediction prediction_type = Prediction::epsilon;
  std::optional<Prediction> loss_space;
  LearnedVariance variance = LearnedVariance::fixed;
  Objective objective = Objective::simple;
  double vlb_weight = 0.001;
  std::optional<AlignmentOptions> alignment;

  static void describe(Schema<SingleOptions>& s);
};

/// DDPM (Ho et al. 2020): one network theta that predicts the noise, the clean image, v = alpha_t eps - sigma_t x0
/// (Salimans & Ho 2022), or the velocity of a rectified flow, u = eps - x0 (Liu et al. 2023), from which x0 = (x_t -
/// sigma_t u) / (alpha_t + sigma_t) on every path; with learned variance (Nichol & Dhariwal 2021) it has twice the
/// channels. The simple loss may compare a different one of the four than is predicted (loss_space), such as velocities
/// if the clean image is predicted (Li & He 2025). A metric acts on the clean image that the prediction implies, so it
/// trains theta: for "epsilon" through x0* = (x_t - sqrt(1-A_t) eps') / sqrt(A_t), unclipped. With [alignment], a
/// module "projector" aligns an inner feature of theta with a feature of a fixed extractor.
class SingleHead : public CascadeHead {
 public:
  using Options = SingleOptions;

  SingleHead(const SingleOptions& options, const Spec& spec);

  std::vector<NamedModule> modules() const override;
  /// x0_from_eps is defined for every prediction type; x0 without a gate only for "sample", where both are equal.
  Estimate estimate(const EstimateInput& input) override;
  /// The term eps, x0, v or flow, named after what it compares (none with objective = "vlb"), metric.*, vlb if the
  /// variance is learned, and alignment.
  Losses losses(const TrainingBatch& batch, const MetricTerms& metrics) override;
  bool gradients_are_separate() const override { return !alignment_.has_value(); }

 private:
  struct Outputs {
    Tensor output;  ///< as defined by prediction_type, [B, C, H, W]
    Estimate estimate;
  };

  bool learns_variance() const { return options_.variance == LearnedVariance::learned_range; }
  /// @param tap  set to the inner feature to be aligned; null: not needed
  Outputs predict(const Tensor& x_t, const Tensor& t, const Condition& condition, Tensor* tap = nullptr) const;
  Tensor target(Prediction predicted, const TrainingBatch& batch) const;
  LossTerm simple_term(const Tensor& output, const TrainingBatch& batch) const;
  LossTerm vlb_term(const Estimate& estimate, const TrainingBatch& batch) const;

  SingleOptions options_;
  std::int64_t channels_;
  std::shared_ptr<const NoiseScheduler> schedule_;
  HeadNetwork theta_;
  std::optional<FeatureAlignment> alignment_;
};

}  // namespace casdm::head_diffusion
