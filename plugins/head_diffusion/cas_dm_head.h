#pragma once

#include <memory>
#include <string>
#include <vector>

#include "casdm/cascade_head.h"
#include "casdm/choice.h"
#include "casdm/head_network.h"
#include "gate_network.h"
#include "mixture.h"

namespace casdm::head_diffusion {

enum class InputClip { unit, none };

constexpr auto choices_of(InputClip) {
  using enum InputClip;
  return choices<InputClip>({{unit, "unit"}, {none, "none"}});
}

/// The meaning of phi's output: x0', or what is added to its input to give x0'.
enum class PhiOutput { direct, residual };

constexpr auto choices_of(PhiOutput) {
  using enum PhiOutput;
  return choices<PhiOutput>({{direct, "direct"}, {residual, "residual"}});
}

enum class TrainMode { joint, frozen_theta };

constexpr auto choices_of(TrainMode) {
  using enum TrainMode;
  return choices<TrainMode>({{joint, "joint"}, {frozen_theta, "frozen_theta"}});
}

struct CasDmOptions : MixtureOptions {
  ComponentConfig theta;
  ComponentConfig phi;
  InputClip input_clip = InputClip::unit;
  bool sees_x_t = false;
  bool detach_input = true;
  PhiOutput output = PhiOutput::direct;
  bool gate_detach_trunk = false;
  TrainMode train_mode = TrainMode::joint;

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

  /// theta, then phi. With gate_detach_trunk, phi's state contains the gate's network under "gate_network.".
  std::vector<NamedModule> modules() const override;
  Estimate estimate(const EstimateInput& input) override;
  /// Terms eps, x0, mu, metric.*; with train_mode = "frozen_theta", eps has no gradient and is only recorded.
  Losses losses(const TrainingBatch& batch, const MetricTerms& metrics) override;
  bool gradients_are_separate() const override { return options_.detach_input || is_theta_frozen(); }

 private:
  bool is_theta_frozen() const { return options_.train_mode == TrainMode::frozen_theta; }
  Tensor predict_eps(const Tensor& x_t, const Tensor& t, const Condition& condition) const;
  Estimate predict(const Tensor& x_t, const Tensor& t, const Condition& for_theta, const Condition& for_phi) const;

  CasDmOptions options_;
  std::int64_t channels_;
  std::shared_ptr<const NoiseScheduler> schedule_;
  Mixture mixture_;
  HeadNetwork theta_;
  HeadNetwork phi_;
  std::shared_ptr<GateNetwork> gate_network_;  ///< null unless gate_detach_trunk
  std::shared_ptr<Module> phi_module_;         ///< phi and the gate's network, if there is one
};

}  // namespace casdm::head_diffusion
