#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/backbone.h"
#include "casdm/component.h"
#include "casdm/noise_scheduler.h"

namespace casdm {

/// What a head believes about the clean image behind x_t. All tensors [B, C, H, W] unless said.
struct Estimate {
  Tensor eps;          ///< predicted noise
  Tensor x0_from_eps;  ///< x0*: the clean image that `eps` implies
  Tensor x0;           ///< x0': the clean image predicted directly; undefined where there is none
  Tensor gate;         ///< r_t, broadcastable to x0: weight of x0' against x0*; undefined without x0
  Tensor variance;     ///< learned variance: v in [-1, 1] between beta~_t and beta_t (in log); undefined: fixed
};

/// One batch at one timestep per image, noised by the host.
struct TrainingBatch {
  Tensor x0;       ///< clean images in [-1, 1]
  Tensor eps;      ///< the noise that was added
  Tensor x_t;      ///< q_sample(x0, t, eps)
  Tensor t;        ///< int64 [B], from 0
  Tensor labels;   ///< int64 [B]; undefined when unconditional
  Tensor augment;  ///< see Condition::augment; undefined without an augmentation
  /// The dropout generator of a module in this step; empty: no dropout.
  std::function<at::Generator(std::string_view module)> dropout;

  /// Labels, augmentation and dropout for the network `module`.
  Condition condition(std::string_view module) const;
};

/// One named part of the training objective.
struct LossTerm {
  std::string name;    ///< "eps", "x0", "mu", "metric.<name>", ...
  Tensor value;        ///< [B], without its weight; requires gradients, or is only recorded
  double weight = 1;   ///< its factor in the objective; each term counts as its mean over the batch
  std::string module;  ///< the module it trains
};

/// A number per image worth recording: the gate, a norm.
struct Statistic {
  std::string name;
  Tensor value;  ///< [B], no gradient
};

struct Losses {
  std::vector<LossTerm> terms;
  std::vector<Statistic> statistics;
};

/// The experiment's metric losses with their weights, t ranges, warm-ups and resizing.
class MetricTerms {
 public:
  virtual ~MetricTerms();

  /// One term "metric.<name>" per metric, for gradients into `prediction`, which belongs to
  /// `module`. `prediction` and batch.x0 are [B, C, H, W].
  virtual std::vector<LossTerm> evaluate(const Tensor& prediction, const TrainingBatch& batch,
                                         const std::string& module) const = 0;
};

/// A network under the name it has in checkpoints, optimisers and logs.
struct NamedModule {
  std::string name;  ///< "theta", "phi"
  std::shared_ptr<Module> module;
  bool is_trainable = true;
};

/// How networks become a diffusion model: what they are fed, what their outputs mean, which loss
/// trains which of them.
///
/// The head owns the gradient routing: it detaches what must not receive gradients. The host adds
/// up weight * mean(value) over the terms, runs backward once, and gives each module its own
/// optimiser, gradient clip and EMA. A new architecture is a new head, never a change of the host.
class CascadeHead {
 public:
  using Interface = CascadeHead;
  static constexpr std::string_view kind = "cascade_head";
  static constexpr int interface_version = 1;

  struct Spec {
    std::int64_t channels = 3;
    std::int64_t image_size = 32;
    std::int64_t num_classes = 0;
    std::shared_ptr<const NoiseScheduler> schedule;  ///< never null
    const ComponentFactory* factory = nullptr;       ///< makes the backbones the head asked for; never null
    /// Of the initialisation. Use derive_seed(seed, module name) for each backbone, so that a
    /// module starts the same whatever other modules a head has.
    std::uint64_t seed = 0;
    std::int64_t augment_size = 0;  ///< of every backbone's Spec
  };

  virtual ~CascadeHead();

  /// The head's networks, always in the same order.
  virtual std::vector<NamedModule> modules() const = 0;

  /// The estimate at x_t. Called without gradient in sampling, with the EMA or the raw weights.
  /// @param x_t  [B, C, H, W] float32 (or float64)
  /// @param t    [B] int64, or floating point between timesteps
  virtual Estimate estimate(const Tensor& x_t, const Tensor& t, const Tensor& labels) = 0;

  /// The terms of the objective for one batch, with gradients routed.
  virtual Losses losses(const TrainingBatch& batch, const MetricTerms& metrics) = 0;

  /// Whether each term sends gradients to the module it names and to no other. Only then may
  /// mixed precision scale the terms of different modules differently.
  virtual bool gradients_are_separate() const { return true; }
};

}  // namespace casdm
