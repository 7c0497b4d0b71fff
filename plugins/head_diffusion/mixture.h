#pragma once

#include <string>
#include <vector>

#include "casdm/cascade_head.h"
#include "casdm/choice.h"

namespace casdm::head_diffusion {

/// Weights of the terms that are not metrics.
struct LossWeights {
  double eps = 1.0;
  double x0 = 1.0;
  double mu = 1.0;

  static void describe(Schema<LossWeights>& s);
};

/// The dimensions over which the gate varies within an image.
enum class GateShape { spatial, scalar, channel };

constexpr auto choices_of(GateShape) {
  using enum GateShape;
  return choices<GateShape>({{spatial, "spatial"}, {scalar, "scalar"}, {channel, "channel"}});
}

enum class GateActivation { sigmoid, clamp, linear };

constexpr auto choices_of(GateActivation) {
  using enum GateActivation;
  return choices<GateActivation>({{sigmoid, "sigmoid"}, {clamp, "clamp"}, {linear, "linear"}});
}

/// The mean that the mu loss compares.
enum class MuSpace { ddpm, ddim };

constexpr auto choices_of(MuSpace) {
  using enum MuSpace;
  return choices<MuSpace>({{ddpm, "ddpm"}, {ddim, "ddim"}});
}

enum class MuWeight { none, inv_c1sq };

constexpr auto choices_of(MuWeight) {
  using enum MuWeight;
  return choices<MuWeight>({{none, "none"}, {inv_c1sq, "inv_c1sq"}});
}

/// Options of a head that mixes x0' with x0*.
struct MixtureOptions {
  LossWeights weights;
  GateShape gate_shape = GateShape::spatial;
  GateActivation gate_activation = GateActivation::sigmoid;
  MuSpace mu_space = MuSpace::ddpm;
  MuWeight mu_weight = MuWeight::none;

  template <class T>
  static void describe_to(Schema<T>& s) {
    s.template option<LossWeights>("weights", &T::weights, "Factors of the loss terms eps, x0 and mu.");
    s.template option<GateShape>(
        "gate_shape", &T::gate_shape,
        "What the gate r varies over within an image: pixels (1xHxW), nothing (1x1x1) or channels (Cx1x1).");
    s.template option<GateActivation>(
        "gate_activation", &T::gate_activation,
        "From the network's output g to r: sigmoid(g), g + 1/2 clamped to [0, 1], or g + 1/2. All start at 1/2.");
    s.template option<MuSpace>(
         "mu_space", &T::mu_space,
         "Mean that the mu loss compares: of the DDPM posterior or of the deterministic DDIM step.")
        .not_with("mu_weight", {"inv_c1sq"});
    s.template option<MuWeight>(
        "mu_weight", &T::mu_weight,
        "inv_c1sq divides the mu loss by the square of the mean's coefficient of x0, so that all t train the gate.");
  }
};

/// The mixture of two predictions of the clean image, mu = r mu(x0') + (1-r) mu(x0*), and its objective (Benny & Wolf
/// 2022; An et al. 2024):
///
///     L_eps = |eps - eps'|^2      L_x0 = |x0 - x0'|^2
///     L_mu  = |mu(x0) - (r sg(mu(x0')) + (1-r) sg(mu(x0*)))|^2,  sg = detach
class Mixture {
 public:
  Mixture(const MixtureOptions& options, std::int64_t channels, std::shared_ptr<const NoiseScheduler> schedule);

  /// The number of channels that the network must provide for the gate.
  std::int64_t gate_channels() const;

  /// r from the network's output [B, gate_channels, H, W], broadcastable to an image.
  Tensor gate(const Tensor& output) const;

  /// The terms eps, x0, mu and those of the metrics (on x0'), and statistics to record.
  /// @param eps_module,  x0_module the modules that predict eps' and (x0', gate)
  Losses losses(const Estimate& estimate, const TrainingBatch& batch, const MetricTerms& metrics,
                const std::string& eps_module, const std::string& x0_module) const;

 private:
  Tensor mu_loss(const Estimate& estimate, const TrainingBatch& batch) const;

  MixtureOptions options_;
  std::int64_t channels_;
  std::shared_ptr<const NoiseScheduler> schedule_;
};

}  // namespace casdm::head_diffusion
