#pragma once

#include <array>
#include <vector>

#include "casdm/one_pass_optimizer.h"
#include "casdm/options.h"

namespace casdm::optimizer_standard {

struct AdamWOptions {
  std::array<double, 2> betas = {0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0.0;

  static void describe(Schema<AdamWOptions>& s);
};

struct AdamOptions : AdamWOptions {
  static void describe(Schema<AdamOptions>& s);
};

/// The moments of Adam for a list of tensors, and its step. The step count is one tensor on the weights' device.
class AdamMoments {
 public:
  enum class Decay { decoupled, in_gradient };

  AdamMoments(std::vector<Tensor> weights, std::vector<Tensor> gradients, Decay decay);

  void step(const AdamWOptions& options, double learning_rate);
  /// The step of a single tensor with everything around it; false: not on this device.
  bool whole_step(const AdamWOptions& options, const WholeStep& step);

  const std::vector<Tensor>& exp_avg() const { return exp_avg_; }
  const std::vector<Tensor>& exp_avg_sq() const { return exp_avg_sq_; }
  const Tensor& count() const { return counts_.front(); }

 private:
  std::vector<Tensor> weights_;
  std::vector<Tensor> gradients_;
  std::vector<Tensor> exp_avg_;
  std::vector<Tensor> exp_avg_sq_;
  std::vector<Tensor> counts_;  ///< the same tensor for each
  Decay decay_;
};

/// Adam over the flat tensors of a module. Its state is `exp_avg.*`, `exp_avg_sq.*` and `step`.
class FlatAdam : public OnePassOptimizer {
 public:
  void step(const OptimizerStep& step) override { moments_.step(options_, step.learning_rate); }
  bool whole_step(const WholeStep& step) override { return moments_.whole_step(options_, step); }
  bool writes_shadow() const override;
  NamedTensors buffers() const override;

 protected:
  FlatAdam(const AdamWOptions& options, const Spec& spec, AdamMoments::Decay decay);

 private:
  AdamWOptions options_;
  Spec spec_;
  AdamMoments moments_;
};

/// Loshchilov & Hutter 2019: the weights decay by learning rate times weight_decay, separately from the gradient.
class AdamW : public FlatAdam {
 public:
  using Options = AdamWOptions;
  AdamW(const Options& options, const Spec& spec) : FlatAdam(options, spec, AdamMoments::Decay::decoupled) {}
};

/// Kingma & Ba 2015; weight_decay times the weights is added to the gradient, as in PyTorch's Adam.
class Adam : public FlatAdam {
 public:
  using Options = AdamOptions;
  Adam(const Options& options, const Spec& spec) : FlatAdam(options, spec, AdamMoments::Decay::in_gradient) {}
};

}  // namespace casdm::optimizer_standard
