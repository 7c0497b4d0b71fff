#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <string>

#include "casdm/timestep_sampler.h"
#include "framework/composition/kept_buffers.h"
#include "framework/composition/model.h"
#include "framework/data/batch_loader.h"
#include "framework/training/step_record.h"

namespace casdm {

/// A training batch, and what each of its images counts in the objective.
struct DrawnBatch {
  TrainingBatch batch;  ///< without labels
  Tensor t;             ///< float64 [B] on the CPU
  Tensor t_of_all;      ///< the same of the batch of all processes, by position
  Tensor weight;        ///< [B] float32, from the timestep sampler; undefined: 1 each
};

/// How draws follow from the seed, for checkpoints. 1, of version 0.1: noise by the step and dropout by the part of a
/// step; 2: by the image's position.
constexpr std::int64_t kDrawVersion = 2;

/// What the host draws for a step: augmentation, timesteps, noise. Each draw is a function of the run's seed, the
/// image's position in the run, and a purpose; timesteps also depend on what their sampler has learned.
class BatchDraws {
 public:
  /// Makes the experiment's timestep sampler, if it names one.
  /// @param rank, size  of this process among those that draw each their part of a batch (world.h)
  BatchDraws(const LoadedExperiment& experiment, const Model& model, c10::Device device, int rank = 0, int size = 1);

  /// The images, this process's part of a batch, augmented and noised. Throws PluginError when a component breaks its
  /// contract.
  DrawnBatch draw(const ImageBatch& images) const;

  /// Which component made what a network is given not finite, as the end of a message; empty: none did.
  std::string source_of_nan(const DrawnBatch& drawn) const;

  /// Tells the timestep sampler the losses of the step that was just drawn.
  void observe(const StepRecord& record);

  /// The timestep sampler's buffers; handles to them.
  NamedTensors state() const;

 private:
  void augment(TrainingBatch& batch, std::int64_t first_position) const;
  void draw_t(DrawnBatch& drawn, std::int64_t first_position) const;

  const Experiment& options_;
  std::uint64_t seed_;
  c10::Device device_;
  int rank_, size_;
  std::shared_ptr<const NoiseScheduler> schedule_;
  Component<Augmentation> augmentation_;  ///< false: none
  Component<TimestepSampler> timesteps_;  ///< false: every timestep equally likely
  KeptBuffers<TimestepSampler> learned_;
};

}  // namespace casdm
