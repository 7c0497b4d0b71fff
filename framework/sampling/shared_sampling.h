#pragma once

#include <cstdint>
#include <functional>

#include "framework/distributed/world.h"
#include "framework/sampling/run_sampler.h"

namespace casdm {

/// A sampling of a run by all processes of a world: in each call, every process draws a batch. The batches are the same
/// as in a single process, so with the same number of threads the images have the same bits.
///
/// This class is for the first process, inside `World::on_first`; the others are in `help_sampling`.
class SharedSampling {
 public:
  using Labels = std::function<std::int64_t(std::int64_t)>;

  /// Keeps references to the model and the world.
  SharedSampling(const Model& model, GenerateOptions options, Labels label, std::int64_t batch, World& world);
  SharedSampling(const SharedSampling&) = delete;
  SharedSampling& operator=(const SharedSampling&) = delete;

  /// Makes the other processes load the same networks. Throws WorldConfigError if two use the same device; ProcessLost
  /// if one cannot load them or would draw other images.
  /// @param settings  from `sampling_settings`
  void invite(const Checkpoint& checkpoint, const SamplingRequest& request, const Value& settings);

  /// Draws images from `first` on, below `end`: uint8 [n, C, H, W] with n = min(at_once(), end - first). Throws like
  /// `generate`.
  Tensor draw(std::int64_t first, std::int64_t end, std::function<void(std::size_t step, std::size_t steps)> on_step);

  /// How many images are drawn at once: one batch per process.
  std::int64_t at_once() const { return batch_ * world_.size(); }

  /// Whether this process was interrupted, or another one while drawing images.
  bool is_cancelled() const;

 private:
  const Model& model_;
  GenerateOptions options_;
  Labels label_;
  std::int64_t batch_;
  World& world_;
  bool was_cancelled_ = false;
};

/// Runs in the other processes until the first one is done: loads the networks it names and draws with it.
void help_sampling(World& world);

}  // namespace casdm
