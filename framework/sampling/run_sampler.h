#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "framework/sampling/generate.h"
#include "framework/training/checkpoint.h"

namespace casdm {

/// What a command asks of the images that it draws from a run. Where it asks nothing, the run's experiment holds.
struct SamplingRequest {
  std::string command;                ///< "sample", for messages
  std::string weights = "ema";        ///< see Checkpoint::load_weights
  std::optional<std::string> device;  ///< the arguments of options that are short for a key
  std::optional<std::string> sampler;
  std::optional<std::string> steps;
  std::optional<std::string> eta;
  std::optional<std::string> guidance;
  std::vector<std::string> overrides;  ///< of `--set`
  std::vector<std::string> plugins;    ///< of `--plugin`
  std::optional<std::int64_t> seed;
  std::optional<std::int64_t> batch;
  std::optional<std::int64_t> label;
  bool allow_rebuilt = false;

  static constexpr std::int64_t kBatch = 64;
  static constexpr std::int64_t kLargestBatch = 1 << 20;
  std::int64_t batch_size() const { return batch.value_or(kBatch); }
};

/// Whether the networks of a checkpoint are conditioned on more than labels.
bool has_extras(const Checkpoint& checkpoint);

/// The experiment to sample with. Throws ConfigError when an option and `--set` set one key, or a key means nothing in
/// sampling.
LoadedExperiment experiment_to_sample(const Checkpoint& checkpoint, const SamplingRequest& request);

/// How the images are drawn, as far as it is the same for all batches.
GenerateOptions generate_options(const Experiment& experiment, c10::Device device, const SamplingRequest& request);

/// The networks with the weights asked for, on the device.
Model model_to_sample(const LoadedExperiment& experiment, Checkpoint& checkpoint, const SamplingRequest& request,
                      c10::Device device);

/// The label of the image of an index; empty: the run has none. Throws ConfigError when `request.label` is not a class.
std::function<std::int64_t(std::int64_t)> label_of_image(const Checkpoint& checkpoint, const SamplingRequest& request);

/// All that decides what the images are, but how many.
Value sampling_settings(const LoadedExperiment& experiment, const Model& model, const Checkpoint& checkpoint,
                        const GenerateOptions& options, const SamplingRequest& request);

/// The labels of `count` images from `first` on, int64 [count]; undefined without `label`.
Tensor labels_for(const std::function<std::int64_t(std::int64_t)>& label, std::int64_t first, std::int64_t count);

}  // namespace casdm
