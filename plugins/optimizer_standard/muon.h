#pragma once

#include <array>
#include <string>
#include <vector>

#include "adam.h"
#include "casdm/choice.h"
#include "casdm/optimizer.h"
#include "casdm/options.h"

namespace casdm::optimizer_standard {

enum class MuonScale { match_rms_adamw, original };

constexpr auto choices_of(MuonScale) {
  using enum MuonScale;
  return choices<MuonScale>({{match_rms_adamw, "match_rms_adamw"}, {original, "original"}});
}

/// Arithmetic of the orthogonalisation.
enum class MuonPrecision { automatic, fp32, bf16 };

constexpr auto choices_of(MuonPrecision) {
  using enum MuonPrecision;
  return choices<MuonPrecision>({{automatic, "auto"}, {fp32, "fp32"}, {bf16, "bf16"}});
}

struct MuonOptions {
  double momentum = 0.95;
  bool nesterov = true;
  double weight_decay = 0.0;
  std::int64_t iterations = 5;
  MuonScale scale = MuonScale::match_rms_adamw;
  MuonPrecision precision = MuonPrecision::automatic;
  double adamw_rate = 1.0;
  std::array<double, 2> adamw_betas = {0.9, 0.999};
  double adamw_eps = 1e-8;
  double adamw_weight_decay = 0.0;

  static void describe(Schema<MuonOptions>& s);
};

/// An approximation U S' V^T of the orthogonal factor U V^T of `matrix` = U S V^T: `iterations` steps of the
/// Newton-Schulz iteration in the quintic form of Jordan et al. 2024, after which the singular values S' are between
/// 0.7 and 1.2.
/// @param matrix  [m, n]
Tensor orthogonalised(const Tensor& matrix, std::int64_t iterations, at::ScalarType precision);

/// Jordan et al. 2024: orthogonalised momentum for weights that are a matrix or a convolution inside the network; a
/// convolution is treated as the matrix [out, in height width]. Embeddings, norms, biases and the output layer are
/// trained with AdamW.
///
///     m <- momentum m + (1 - momentum) g
///     o <- orthogonalised((1 - momentum) g + momentum m if nesterov, else m)
///     w <- (1 - learning_rate weight_decay) w - learning_rate scale o
///
/// scale for a matrix [m, n]:
///     match_rms_adamw  0.2 sqrt(max(m, n)): steps as large as AdamW's, so its learning rate and decay can be used
///                      unchanged (Liu et al. 2025, "Muon is scalable for LLM training", equation 4)
///     original         sqrt(max(1, m / n)) (Jordan et al. 2024), for learning rates about 0.02
///
/// Forms and names are those of PyTorch's torch.optim.Muon. State: `momentum.*` for the orthogonalised weights,
/// `exp_avg.*`, `exp_avg_sq.*` and `step` for the others.
class Muon : public Optimizer {
 public:
  using Options = MuonOptions;
  Muon(const MuonOptions& options, const Spec& spec);
  void step(const OptimizerStep& step) override;
  NamedTensors buffers() const override;

 private:
  struct Matrix {
    OptimizedParameter parameter;
    Tensor momentum;
  };

  void step(const Matrix& matrix, double learning_rate) const;
  double scale(const Tensor& matrix) const;

  MuonOptions options_;
  at::ScalarType precision_;
  std::vector<Matrix> matrices_;
  std::vector<OptimizedParameter> others_;
  AdamMoments moments_;  ///< of others_
};

}  // namespace casdm::optimizer_standard
