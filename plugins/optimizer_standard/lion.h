#pragma once

#include <array>

#include "casdm/optimizer.h"
#include "casdm/options.h"

namespace casdm::optimizer_standard {

struct LionOptions {
  std::array<double, 2> betas = {0.9, 0.99};
  double weight_decay = 0.0;

  static void describe(Schema<LionOptions>& s);
};

/// Chen et al. 2023, algorithm 2: every weight moves by the learning rate in the direction of a sign.
///
///     w <- w - learning_rate (sign(beta_1 m + (1 - beta_1) g) + weight_decay w)
///     m <- beta_2 m + (1 - beta_2) g
///
/// Its state is `exp_avg.*`. The authors recommend a learning rate 3 to 10 times smaller than AdamW's, and a weight
/// decay larger by the same factor.
class Lion : public Optimizer {
 public:
  using Options = LionOptions;
  Lion(const LionOptions& options, const Spec& spec);
  void step(const OptimizerStep& step) override;
  NamedTensors buffers() const override { return named_views(spec_, exp_avg_, "exp_avg"); }

 private:
  LionOptions options_;
  Spec spec_;
  Tensor exp_avg_;
};

}  // namespace casdm::optimizer_standard
