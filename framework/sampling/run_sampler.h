#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "framework/sampling/generate.h"
#include "framework/training/checkpoint.h"

namespace casdm {

/// What a command asks for when it draws images from a run. Anything not given is taken from the run's experiment.
struct SamplingRequest {
  std::string command;                ///< "sample", for messages
  std::string weights = "ema";        ///< see Checkpoint::load_weights
  std::optional<std::string> device;  ///< the values of options that are short for a key
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

/// The experiment to sample with. Throws ConfigError if an option and `--set` set the same key, or if a key has no
/// effect on sampling.
LoadedExperiment experiment_to_sample(const Checkpoint& checkpoint, const SamplingRequest& request);

/// How the images are drawn, as far as that is the same for all batches.
GenerateOptions generate_options(const Experiment& experiment, c10::Device device, const SamplingRequest& request);

/// The networks with the requested weights, on the device. Throws ConfigError if the requested number of steps has no
/// effect.
Model model_to_sample(const LoadedExperiment& experiment, Checkpoint& checkpoint, const SamplingRequest& request,
                      c10::Device device);

/// The label of the image at an index (label_of_sample, unless `request.label` gives one); empty: the run has no
/// labels.
std::function<std::int64_t(std::int64_t)> label_of_image(const Checkpoint& checkpoint, const Model& model,
                                                         const SamplingRequest& request);

/// Everything that decides the images, apart from their number.
Value sampling_settings(const LoadedExperiment& experiment, const Model& model, const Checkpoint& checkpoint,
                        const GenerateOptions& options, const SamplingRequest& request);

/// In the settings and in the records of evaluations: the key of digest_of_conditions.
inline constexpr const char* kConditionsDigest = "conditions_sha256";

/// Adds to `settings` what `count` images are conditioned on, if they are conditioned on extras; this reads as many
/// images of the data set.
void add_conditions(Value& settings, const Model& model, std::int64_t count,
                    const std::function<std::int64_t(std::int64_t)>& label);

/// What sampling_settings warns of: weights that are not the checkpoint's. Empty: nothing.
std::string warning_of(const Value& settings);

/// The labels of `count` images, starting with image `first`, int64 [count]; undefined without `label`.
Tensor labels_for(const std::function<std::int64_t(std::int64_t)>& label, std::int64_t first, std::int64_t count);

}  // namespace casdm
