#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <string>

#include "casdm/timestep_sampler.h"
#include "framework/composition/kept_buffers.h"
#include "framework/composition/model.h"
#include "framework/data/batch_loader.h"
#include "framework/device/copy_stream.h"
#include "framework/training/step_record.h"

namespace casdm {

/// A training batch, and the weight of each image in the objective.
struct DrawnBatch {
  TrainingBatch batch;  ///< without labels
  Tensor t;             ///< float64 [B] on the CPU
  Tensor t_of_all;      ///< the times of all processes' batch, by position
  Tensor weight;        ///< [B] float32, from the timestep sampler; undefined: all 1
};

/// How draws follow from the seed, for checkpoints. 1, used by version 0.1: noise by step and dropout by part of a
/// step; 2: by the image's position.
constexpr std::int64_t kDrawVersion = 2;

/// The host's random draws for a step: augmentation, timesteps, noise. Each is a function of the run's seed, the
/// image's position in the run, and a purpose; timesteps also depend on what their sampler has learned.
class BatchDraws {
 public:
  /// Creates the experiment's timestep sampler, if there is one.
  /// @param rank,  size of this process, if several each draw their part of a batch (world.h)
  BatchDraws(const LoadedExperiment& experiment, const Model& model, c10::Device device, int rank = 0, int size = 1);

  /// Augments and noises the images of this process's part of a batch. Throws PluginError if a component violates its
  /// contract.
  DrawnBatch draw(const ImageBatch& images) const;

  /// Which component caused a network's input not to be finite, as the end of a message; empty: none did.
  std::string source_of_nan(const DrawnBatch& drawn) const;

  /// Reports the losses of the last drawn step to the timestep sampler.
  /// @param metrics  the terms of all metrics; those that were not computed in this step count as 0
  void observe(const StepRecord& record, const std::vector<std::string>& metrics = {});

  /// Whether the losses of a step must be observed before the next draw.
  bool follows_losses() const { return !learned_.is_empty(); }

  /// Handles to the timestep sampler's buffers.
  NamedTensors state() const;

 private:
  void augment(TrainingBatch& batch, std::int64_t first_position) const;
  void draw_t(DrawnBatch& drawn, std::int64_t first_position) const;

  const Experiment& options_;
  std::uint64_t seed_;
  c10::Device device_;
  CopyStream copies_;
  int rank_, size_;
  std::shared_ptr<const NoiseScheduler> schedule_;
  Component<Augmentation> augmentation_;  ///< none: converts to false
  Component<TimestepSampler> timesteps_;  ///< none: every timestep is equally likely
  KeptBuffers<TimestepSampler> learned_;
};

}  // namespace casdm
