#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "framework/config/experiment.h"
#include "framework/training/module_state.h"
#include "framework/training/run_folder.h"

namespace casdm {

/// Where a training stands, apart from its tensors.
struct Progression {
  std::int64_t step = 0;            ///< optimiser steps done
  std::int64_t images = 0;          ///< images seen
  std::vector<double> loss_scales;  ///< fp16: see LossScaler
  std::int64_t num_classes = 0;     ///< of the data set; 0: unconditional
};

/// A run without any checkpoint.
class NoCheckpoint : public Error {
 public:
  using Error::Error;
};

/// A saved state: RUN/checkpoints/<images>/ with
///
///     weights.safetensors    every module's parameters and buffers, "theta.<name>"
///     ema.safetensors        the averaged parameters, same names
///     ema-<name>.safetensors an average of [[ema.also]], likewise
///     optimizer.safetensors  Adam's moments
///     timesteps.safetensors  what the timestep sampler has learned; only where it learns
///     state.json             progression, resolved config, plugins with their build ids, LibTorch
///                            version, and size and SHA-256 of each file
///
/// It is written under a temporary name, synced and renamed, so it is whole or absent.
class Checkpoint {
 public:
  /// Saves, then removes all but the newest `keep_last`.
  /// @param timesteps  the timestep sampler's buffers
  static Checkpoint save(const RunFolder& run, const Value& resolved, const std::vector<UsedPlugin>& plugins,
                         const std::vector<ModuleState>& modules, const NamedTensors& timesteps,
                         const Progression& progression, std::int64_t keep_last);

  /// The newest of a run, or the one in `path` when that is a checkpoint folder itself. Throws
  /// Error when there is none or when a file is missing, truncated or altered.
  static Checkpoint open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const Progression& progression() const { return progression_; }
  const Value& config() const { return config_; }
  const std::vector<UsedPlugin>& plugins() const { return plugins_; }

  /// Restores everything training needs; all or nothing a module. Throws Error when the timestep sampler of the
  /// checkpoint is not the one whose buffers `timesteps` are.
  void restore(std::vector<ModuleState>& modules, const NamedTensors& timesteps) const;

  /// Loads the weights of a head's modules.
  /// @param which  "ema", "raw", the name of an average of [[ema.also]], or a safetensors file in the layout of
  ///               ema.safetensors. Throws ConfigError that lists what there is when it is none of these.
  void load_weights(const std::vector<NamedModule>& modules, const std::string& which) const;

  /// The weights of one module, `which` as above. Throws ConfigError when there is none of the name.
  NamedTensors weights(const std::string& module, const std::string& which) const;

  /// Throws PluginError when a plugin of `now` differs from the one that made the checkpoint.
  void check_plugins(const std::vector<UsedPlugin>& now) const;

  /// From now on any build of the plugins will do.
  void accept_plugins() { plugins_.clear(); }

 private:
  bool has(const std::string& file) const;
  std::filesystem::path file_of(const std::string& weights) const;
  void restore_timesteps(const NamedTensors& timesteps) const;

  std::filesystem::path path_;
  std::vector<std::string> files_;
  Progression progression_;
  Value config_;
  std::vector<UsedPlugin> plugins_;
};

/// The averaged weights of `module` in `from`: a run, a checkpoint, or a safetensors file with the module's own names
/// or in the layout of ema.safetensors, whose metadata are kept.
TensorFile pretrained(const std::filesystem::path& from, const std::string& module);

}  // namespace casdm
