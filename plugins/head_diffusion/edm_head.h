#pragma once

#include <memory>
#include <vector>

#include "casdm/cascade_head.h"
#include "casdm/head_network.h"
#include "casdm/parameter_maker.h"
#include "preconditioning.h"

namespace casdm::head_diffusion {

struct EdmOptions {
  ComponentConfig theta;
  double sigma_data = 0.5;
  bool learned_weight = true;

  static void describe(Schema<EdmOptions>& s);
};

/// u(log SNR), the log variance of the loss at a noise level: a linear map of 128 random cosines of ln(sigma) / 4
/// (Karras et al. 2024, equation 21). It starts at 0.
class LossUncertainty : public Module {
 public:
  explicit LossUncertainty(std::uint64_t seed);

  NamedTensors parameters() const override { return {{"weight", weight_}}; }
  NamedTensors buffers() const override { return {{"frequency", frequency_}, {"phase", phase_}}; }

  /// @param log_snr  [B]; infinite if there is no signal
  /// @return         float32 [B]
  Tensor operator()(const Tensor& log_snr) const;

 private:
  Tensor frequency_, phase_, weight_;
};

/// EDM (Karras et al. 2022, table 1): x0' = c_skip x_t + c_out F(c_in x_t, t), in the form that holds on every path
/// x_t = alpha x0 + sigma eps. With d = sigma_data and n = sigma^2 + d^2 alpha^2,
///
///     c_skip = d^2 alpha / n     c_out = sigma d / sqrt(n)     c_in = 1 / sqrt(n)
///     L = |x0 - x0'|^2 / c_out^2 / exp(u) + u,   u(log SNR) learned (Karras et al. 2024, equation 21), or 0
///
/// so that F has inputs and targets of variance 1, and each noise level contributes equally to the loss. A metric acts
/// on x0' and trains theta.
class EdmHead : public CascadeHead {
 public:
  using Options = EdmOptions;

  EdmHead(const EdmOptions& options, const Spec& spec);

  /// theta, and "uncertainty" if the weight is learned.
  std::vector<NamedModule> modules() const override;
  Estimate estimate(const EstimateInput& input) override;
  /// Terms edm, metric.*.
  Losses losses(const TrainingBatch& batch, const MetricTerms& metrics) override;
  bool gradients_are_separate() const override { return uncertainty_ == nullptr; }

 private:
  Estimate predict(const Tensor& x_t, const Tensor& t, const Condition& condition) const;

  EdmOptions options_;
  std::shared_ptr<const NoiseScheduler> schedule_;
  Preconditioned scaled_;
  HeadNetwork theta_;
  std::shared_ptr<LossUncertainty> uncertainty_;  ///< null without learned_weight
};

}  // namespace casdm::head_diffusion
