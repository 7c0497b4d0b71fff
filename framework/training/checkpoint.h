#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "casdm/cascade_head.h"
#include "casdm/error.h"
#include "casdm/safetensors.h"
#include "framework/config/experiment.h"
#include "framework/support/folder_hold.h"
#include "framework/training/log_file.h"
#include "framework/training/run_folder.h"

namespace casdm {

/// The content of a checkpoint. This class does not know what the training uses it for.
struct CheckpointContent {
  /// A table with the training's position. `images` (seen so far) names the checkpoint; readers also use `num_classes`
  /// (of the data set, 0: unconditional) and kLogMark. Infinity and NaN are preserved.
  Value numbers;
  /// By file name: "weights", "ema", and "ema-NAME" for the averages, with names "<module>.<name>"; and whatever else
  /// the training needs to continue. A file name consists of letters, digits, '-', '_' and '.'.
  std::map<std::string, NamedTensors> tensors;
  Value config;  ///< the resolved experiment
  std::vector<UsedPlugin> plugins;
};

/// The run has no checkpoint.
class NoCheckpoint : public ConfigError {
 public:
  using ConfigError::ConfigError;
};

/// A saved state: RUN/checkpoints/<images>/ with
///
///     <name>.safetensors     each of CheckpointContent::tensors
///     state.json             numbers, resolved config, plugins with their build ids, LibTorch version, and size and
///                            SHA-256 of each file
///     state.json.sha256      of state.json, in sha256sum's form
///
/// <images> has twelve digits; folders with other names are ignored. A checkpoint is written under a temporary name,
/// synced and renamed, so it is either complete or absent.
class Checkpoint {
 public:
  /// Saves a checkpoint of `run`, after its log has reached the disk. An existing entry of that name is renamed to
  /// <images>.set-aside-<n>. Returns the checkpoint's folder. Throws Error; earlier checkpoints are never touched.
  static std::filesystem::path save(const RunFolder& run, const CheckpointContent& content);

  /// RUN/checkpoints/<images>, which need not exist.
  static std::filesystem::path path_of(const RunFolder& run, std::int64_t images);

  /// Puts a copy of this checkpoint, which has another name, into the run as its own, and returns that. An entry of
  /// that name is renamed as in `save`. Throws Error.
  std::filesystem::path copy_into(const RunFolder& run) const;

  /// Removes all but the newest `keep_last` checkpoints of the run; never `saved`, the best one, or one that is being
  /// read. If one cannot be removed completely, a later call tries again.
  /// @param warn  called for each that cannot be removed
  static void remove_old(const RunFolder& run, const std::filesystem::path& saved, std::int64_t keep_last,
                         const std::function<void(const std::string&)>& warn);

  /// The checkpoints of a run by images, oldest first.
  static std::vector<std::pair<std::int64_t, std::filesystem::path>> all(const RunFolder& run);

  /// Opens the newest checkpoint of a run, or the one at `path` if that is a checkpoint folder itself, or the link to
  /// the best one. Nobody removes it while the object or a copy of it lives. Throws Error if there is none, if a file
  /// is missing, truncated or altered, or if a number is impossible.
  static Checkpoint open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  /// The digest of the file with one of CheckpointContent::tensors, which must exist.
  const std::string& sha256_of(const std::string& tensors) const { return files_.at(tensors); }
  /// The digest of all tensors; see judged_checkpoint.h.
  const std::string& files_sha256() const { return files_sha256_; }
  const Value& numbers() const { return numbers_; }
  std::int64_t images() const { return count("images"); }
  std::int64_t num_classes() const { return count("num_classes", 1 << 24); }
  const Value& config() const { return config_; }
  const std::vector<UsedPlugin>& plugins() const { return plugins_; }

  /// An integer of `numbers`. Throws Error with its name if it is missing or not in 0..most.
  std::int64_t count(const std::string& key, std::int64_t most = kMostImages) const;

  bool has(const std::string& tensors) const { return files_.contains(tensors); }
  std::filesystem::path file(const std::string& tensors) const;

  /// One of CheckpointContent::tensors. Throws Error if there is none of that name.
  NamedTensors tensors(const std::string& name) const;

  /// Whether `which` is the name of weights in the checkpoint: "ema", "raw" or an average of [[ema.also]].
  bool has_average(const std::string& which) const;

  /// Loads the weights of a head's modules.
  /// @param which  "ema", "raw", the name of an average of [[ema.also]], or a safetensors file in the layout of
  ///               ema.safetensors. If it is none of these, throws ConfigError that lists what there is.
  void load_weights(const std::vector<NamedModule>& modules, const std::string& which) const;

  /// The weights of one module, `which` as above. Throws ConfigError if there is no such module.
  NamedTensors weights(const std::string& module, const std::string& which) const;

  /// Which plugins of `now` are other builds than those that made the checkpoint, one each: "plugin ID: 0.1.0 build
  /// 3e7f -> 0.1.0 build 9dca".
  std::vector<std::string> other_builds(const std::vector<UsedPlugin>& now) const;

  /// Throws PluginError if there are any, unless they are accepted.
  void check_plugins(const std::vector<UsedPlugin>& now) const;

  /// From now on, any build of the plugins is accepted.
  void accept_plugins() { accepts_plugins_ = true; }

  static constexpr std::int64_t kMostImages = 1'000'000'000'000'000;

 private:
  void read_state(const std::string& json);
  std::filesystem::path file_of(const std::string& weights) const;

  std::filesystem::path path_;
  std::shared_ptr<const FolderHold> hold_;
  std::string files_sha256_;
  std::map<std::string, std::string> files_;  ///< name of the tensors, and SHA-256 of their file
  Value numbers_;
  Value config_;
  std::vector<UsedPlugin> plugins_;
  bool accepts_plugins_ = false;  ///< of any build
};

}  // namespace casdm
