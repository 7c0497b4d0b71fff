#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "framework/training/checkpoint.h"

namespace casdm {

/// Weights of one module.
struct Pretrained {
  TensorFile file;
  Value network;  ///< its table under [head] in the experiment that trained it; null: unknown
  Value meaning;  ///< `meaning_of` that experiment; null: unknown
};

/// The metadata key of a file in the layout of ema.safetensors: [head] of its run, as JSON.
constexpr const char* kHeadOfRun = "head";

/// [noise] of an experiment, and [head] without its networks: what the networks' outputs mean.
Value meaning_of(const Value& experiment);

/// The metadata key of a file of weights: `meaning_of` the experiment that trained them, as JSON.
constexpr const char* kMeaning = "meaning";

/// The metadata key of a file of averages: run.seed, which no resume changes.
constexpr const char* kSeedOfRun = "seed";

/// The three entries above, for weights of all networks of an experiment.
std::map<std::string, std::string> description_of(const Value& experiment);

/// The averaged weights of `module` in `from`: a run, a checkpoint, or a safetensors file with either the module's own
/// names or the layout of ema.safetensors; its metadata are kept. What these do not say about a file of a checkpoint or
/// a snapshot is taken from its run.
Pretrained pretrained(const std::filesystem::path& from, const std::string& module);
Pretrained pretrained(const Checkpoint& from, const std::string& module);

}  // namespace casdm
