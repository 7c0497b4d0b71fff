#pragma once

#include "casdm/optimizer.h"
#include "casdm/options.h"

namespace casdm::optimizer_standard {

struct SgdOptions {
  double momentum = 0.9;
  bool nesterov = false;
  double dampening = 0.0;
  double weight_decay = 0.0;

  static void describe(Schema<SgdOptions>& s);
};

/// Gradient descent with momentum, as in PyTorch's SGD:
///
///     g <- g + weight_decay w
///     m <- momentum m + (1 - dampening) g     (m = g at the first step)
///     w <- w - learning_rate (g + momentum m if nesterov, else m)
///
/// Its state is `momentum.*` and `step`; without momentum it has none.
class Sgd : public Optimizer {
 public:
  using Options = SgdOptions;

  /// Throws ConfigError if Nesterov's form is requested without momentum or with dampening.
  Sgd(const SgdOptions& options, const Spec& spec);
  void step(const OptimizerStep& step) override;
  NamedTensors buffers() const override;

 private:
  /// The direction of the step; overwrites the gradients.
  Tensor with_momentum(const Tensor& gradient);

  SgdOptions options_;
  Spec spec_;
  Tensor momentum_;
  Tensor steps_;  ///< on the CPU, so that it can be read without waiting
};

}  // namespace casdm::optimizer_standard
