#pragma once

#include <cstdint>
#include <functional>

#include "framework/distributed/world.h"
#include "framework/sampling/run_sampler.h"

namespace casdm {

/// One sampling of a run by all processes of a world: at each call every one draws a batch. The batches are those of
/// one process, so with as many threads the images have the same bits.
///
/// This is for the first process, within `World::on_first`; the others are in `help_sampling`.
class SharedSampling {
 public:
  using Labels = std::function<std::int64_t(std::int64_t)>;

  /// Keeps references to model and world.
  SharedSampling(const Model& model, GenerateOptions options, Labels label, std::int64_t batch, World& world);
  SharedSampling(const SharedSampling&) = delete;
  SharedSampling& operator=(const SharedSampling&) = delete;

  /// Has the other processes load the same networks. Throws WorldConfigError when two have one device; ProcessLost when
  /// one cannot load them, or would draw other images.
  /// @param settings  of `sampling_settings`
  void invite(const Checkpoint& checkpoint, const SamplingRequest& request, const Value& settings);

  /// Images from `first` on, below `end`: uint8 [n, C, H, W] with n = min(at_once(), end - first). Throws as `generate`
  /// does.
  Tensor draw(std::int64_t first, std::int64_t end, std::function<void(std::size_t step, std::size_t steps)> on_step);

  /// How many images are drawn at once: a batch for each process.
  std::int64_t at_once() const { return batch_ * world_.size(); }

  /// Whether this process was interrupted, or another one while images were drawn.
  bool is_cancelled() const;

 private:
  const Model& model_;
  GenerateOptions options_;
  Labels label_;
  std::int64_t batch_;
  World& world_;
  bool was_cancelled_ = false;
};

/// What the other processes do until the first one is done: load the networks it names and draw with it.
void help_sampling(World& world);

}  // namespace casdm
