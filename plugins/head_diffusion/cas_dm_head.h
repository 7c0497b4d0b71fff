#pragma once

#include <memory>
#include <string>
#include <vector>

#include "casdm/cascade_head.h"
#include "casdm/head_network.h"
#include "gate_network.h"
#include "mixture.h"

namespace casdm::head_diffusion {

struct CasDmOptions : MixtureOptions {
  ComponentConfig theta;
  ComponentConfig phi;
  std::string input_clip = "unit";
  bool sees_x_t = false;
  bool detach_input = true;
  std::string output = "direct";
  bool gate_detach_trunk = false;
  std::string train_mode = "joint";

  static void describe(Schema<CasDmOptions>& s);
};

/// Cas-DM (An et al. 2024, "Bring Metric Functions into Diffusion Models"): two networks in a row.
///
///     eps'    = theta(x_t, t)            x0* = (x_t - sqrt(1-A_t) eps') / sqrt(A_t)
///     x0', r  = phi(sg(x0*), t)          mu  = r mu(x0') + (1-r) mu(x0*)
///
/// What trains what ("-": the gradient is exactly zero or undefined):
///
///                    L_eps  L_x0  L_metric  L_mu
///     theta          yes    -     -         -
///     phi trunk      -      yes   yes       yes (- with gate_detach_trunk)
///     phi x0 output  -      yes   yes       -
///     phi r output   -      -     -         yes
///
/// With detach_input = false, L_x0, L_metric and (through r) L_mu reach theta as well.
class CasDmHead : public CascadeHead {
 public:
  using Options = CasDmOptions;

  CasDmHead(const CasDmOptions& options, const Spec& spec);

  /// theta, then phi. With gate_detach_trunk, phi's state has the gate's network under "gate_network.".
  std::vector<NamedModule> modules() const override;
  Estimate estimate(const EstimateInput& input) override;
  /// Terms eps, x0, mu, metric.*; with train_mode = "frozen_theta", eps has no graph and is only recorded.
  Losses losses(const TrainingBatch& batch, const MetricTerms& metrics) override;
  bool gradients_are_separate() const override { return options_.detach_input || is_theta_frozen(); }

 private:
  bool is_theta_frozen() const { return options_.train_mode == "frozen_theta"; }
  Tensor predict_eps(const Tensor& x_t, const Tensor& t, const Condition& condition) const;
  Estimate predict(const Tensor& x_t, const Tensor& t, const Condition& for_theta, const Condition& for_phi) const;

  CasDmOptions options_;
  std::int64_t channels_;
  std::shared_ptr<const NoiseScheduler> schedule_;
  Mixture mixture_;
  HeadNetwork theta_;
  HeadNetwork phi_;
  std::shared_ptr<GateNetwork> gate_network_;  ///< null unless gate_detach_trunk
  std::shared_ptr<Module> phi_module_;         ///< phi and the gate's network, where there is one
};

}  // namespace casdm::head_diffusion
