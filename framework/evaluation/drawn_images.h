#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "framework/device/threads.h"
#include "framework/evaluation/stored_images.h"
#include "framework/sampling/run_sampler.h"
#include "framework/sampling/sample_folder.h"
#include "framework/sampling/shared_sampling.h"

namespace casdm {

/// The images of a run as a stream: drawn batch by batch as they are read, and dropped once they are judged. Each is a
/// function of the settings and its index, so a stream that starts in the middle gives the same images.
class DrawnImages {
 public:
  /// Loads the networks. Throws like sampling.
  DrawnImages(Checkpoint checkpoint, SamplingRequest request, std::int64_t count, World& world);

  /// Everything that determines the images; a table, the same on every machine. The first call reads the conditions.
  const Value& settings() const;
  const LoadedExperiment& experiment() const { return experiment_; }
  c10::Device device() const { return options_.device; }
  ImageShape shape() const { return ImageShape::square(options_.channels, options_.image_size); }
  const Checkpoint& checkpoint() const { return checkpoint_; }
  const SamplingRequest& request() const { return request_; }

  /// Keeps the images in a folder, as `casdm sample` does, or reuses those drawn there earlier. Returns a remark for
  /// the user, or an empty string.
  std::string keep_in(const std::filesystem::path& folder, bool overwrite);

  /// Completes the folder, if there is one.
  void finish();

  /// Whether this process was interrupted, or another one while drawing images.
  bool is_cancelled() const { return drawing_.is_cancelled(); }

  /// Makes the other processes load the networks. Keeps a reference to this object. `threads` follows the load between
  /// steps.
  ImageStream stream(std::string name, CpuThreads& threads);

 private:
  at::Tensor read(std::int64_t first, std::int64_t n);
  at::Tensor images_from(std::int64_t first);
  at::Tensor draw(std::int64_t first);

  Checkpoint checkpoint_;
  SamplingRequest request_;
  std::int64_t count_;
  LoadedExperiment experiment_;
  GenerateOptions options_;
  Model model_;
  std::function<std::int64_t(std::int64_t)> label_;
  mutable Value settings_;
  mutable bool knows_conditions_ = false;
  SharedSampling drawing_;
  std::unique_ptr<SampleFolder> folder_;
  std::shared_ptr<StoredImages> kept_;  ///< from a folder that is complete
  CpuThreads* threads_ = nullptr;
  std::shared_ptr<std::function<void(std::int64_t)>> on_drawn_;
  std::int64_t first_ = 0;  ///< index of the first image held
  at::Tensor held_;
};

}  // namespace casdm
