#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "casdm/api.h"
#include "casdm/backbone.h"
#include "casdm/component.h"
#include "casdm/estimate.h"
#include "casdm/loss_term.h"
#include "casdm/noise_scheduler.h"

namespace casdm CASDM_API {

/// One batch, each image at its own time, noised by the host.
struct TrainingBatch {
  Tensor x0;                     ///< clean images in [-1, 1], [B, C, H, W]
  Tensor eps;                    ///< the noise that was added
  Tensor x_t;                    ///< q_sample(x0, t, eps)
  Tensor t;                      ///< [B]: int64 where the path is whole, else float64
  Tensor alpha, sigma, log_snr;  ///< the path's, at t: [B] float64
  Tensor target;                 ///< what metrics compare with: x0, unless the head puts something else here
  Condition condition;           ///< of the images, without dropout
  std::vector<std::uint64_t>
      seeds;              ///< one per image, from its position in the run: for dropout and anything else the head draws
  std::int64_t step = 0;  ///< of the run, from 1
  std::int64_t images_seen = 0;   ///< by the run before this batch
  std::int64_t total_images = 0;  ///< that the run will see

  /// `condition`, with the dropout of the network `module`: a function of `seeds` and of its name. Without seeds there
  /// is none.
  Condition condition_for(std::string_view module) const;
};

/// A batch of x0 [B, C, H, W] at times t [B] with the noise eps: everything that follows from these, as the host makes
/// it.
TrainingBatch noised_batch(const NoiseScheduler& schedule, const Tensor& x0, const Tensor& t, const Tensor& eps);

/// The experiment's metric losses with their weights, t ranges, warm-ups and resizing.
class MetricTerms {
 public:
  virtual ~MetricTerms();

  /// One term "metric.<name>" per metric, for gradients into `prediction`, which belongs to
  /// `module`. `prediction` and batch.target are [B, C, H, W].
  virtual std::vector<LossTerm> evaluate(const Tensor& prediction, const TrainingBatch& batch,
                                         const std::string& module) const = 0;
};

/// A network under the name it has in checkpoints, optimisers and logs.
struct NamedModule {
  std::string name;  ///< "theta", "phi"
  std::shared_ptr<Module> module;
  bool is_trainable = true;
  /// The table that chose it, for messages and for the layouts of other programs' files; empty: the head's own.
  ComponentConfig config = {};
  /// Its optimiser steps once every so many steps of the run, with that step's gradient.
  std::int64_t update_every = 1;
  /// The module it is the running average of (a teacher): after each step of the run
  /// average_decay of it is kept and the rest taken from there. It is not trainable then.
  std::string average_of = {};
  double average_decay = 0.9999;
};

/// How networks become a diffusion model: what they are fed, what their outputs mean, which loss
/// trains which of them.
///
/// The head owns the gradient routing: it detaches what must not receive gradients. The host adds
/// up weight * mean(value) over the terms, runs backward once, and gives each module its own
/// optimiser, gradient clip and EMA. A new architecture is a new head, never a change to the host.
/// casdm/head_network.h helps with the networks.
class CascadeHead {
 public:
  using Interface = CascadeHead;
  static constexpr std::string_view kind = "cascade_head";
  static constexpr int interface_version = 2;

  struct Spec {
    ImageShape image = {};
    ConditionInfo condition = {};                              ///< of every backbone
    std::shared_ptr<const NoiseScheduler> schedule = nullptr;  ///< never null
    const ComponentFactory* factory = nullptr;                 ///< makes the backbones the head asked for; never null
    std::uint64_t seed = 0;                                    ///< of the initialisation
    /// False: `losses` is never called, and the modules and components that it alone needs are left out, so that a run
    /// can be sampled where they are not.
    bool is_training = true;

    /// The backbone of the table `config`, for images of the head's size. Its weights are seeded by (seed, name), so
    /// that a module starts the same whatever other modules a head has.
    std::shared_ptr<Backbone> backbone(const std::string& name, const ComponentConfig& config, std::int64_t in_channels,
                                       std::int64_t out_channels) const;
  };

  virtual ~CascadeHead();

  /// The head's networks, always in the same order.
  virtual std::vector<NamedModule> modules() const = 0;

  /// The estimate at x_t. Called without gradient in sampling, with the EMA or the raw weights.
  virtual Estimate estimate(const EstimateInput& input) = 0;

  /// The terms of the objective for one batch, with gradients routed.
  virtual Losses losses(const TrainingBatch& batch, const MetricTerms& metrics) = 0;

  /// Whether each term sends gradients to the module it names and to no other. Only then may
  /// mixed precision scale the terms of different modules differently.
  virtual bool gradients_are_separate() const { return true; }
};

}  // namespace casdm
