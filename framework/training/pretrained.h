#pragma once

#include <filesystem>
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

/// The averaged weights of `module` in `from`: a run, a checkpoint, or a safetensors file with either the module's own
/// names or the layout of ema.safetensors; its metadata are kept.
Pretrained pretrained(const std::filesystem::path& from, const std::string& module);
Pretrained pretrained(const Checkpoint& from, const std::string& module);

}  // namespace casdm
