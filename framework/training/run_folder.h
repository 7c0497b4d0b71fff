#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "casdm/value.h"

namespace casdm {

class ReplacedRun;

/// The folder of one run:
///
///     config.toml      the resolved experiment
///     init.json        the weights that [[init]] gave, see initial_weights.h
///     metrics.jsonl    one JSON object per line
///     samples/         grids drawn while training, <images>.png
///     checkpoints/     one folder each, see checkpoint.h
///     ema/             snapshots of averages, see ema_snapshots.h
///     evaluation/      records of `casdm evaluate`, see evaluation_file.h
///     set-aside-<n>/   what was set aside when the training went back, see rewind.h
///     .lock            held while a process trains; says which one
class RunFolder {
 public:
  /// Creates a new folder and locks it. It is created under a temporary name and renamed, so of two processes only one
  /// succeeds. An empty folder, or one whose checkpoints/ and samples/ are empty, is reused. Throws ConfigError if
  /// there is anything else of that name: nothing is ever overwritten.
  static RunFolder create(const std::filesystem::path& path, const Value& resolved);

  /// Opens an existing folder. Throws ConfigError if it is not a run folder.
  static RunFolder open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.toml"; }
  std::filesystem::path init() const { return path_ / "init.json"; }
  std::filesystem::path log() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path samples() const { return path_ / "samples"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path ema() const { return path_ / "ema"; }

  /// Removes the folder that `create` made, with the parents that it made, if nothing was recorded, saved or added
  /// since, so that the name is free again.
  void remove_if_unused() const;

  /// Keeps the earlier run whose place this one takes until `settle`; see replaced_run.h.
  void replace(std::shared_ptr<ReplacedRun> earlier) { replaced_ = std::move(earlier); }

  /// The run has taken a step: removes the run that it replaces.
  void settle();

  /// Held while this object or a copy of it lives. Removes files that ended processes left half-written. If another
  /// process trains in the folder, throws Error that names it (process, machine, since when).
  void lock();

  /// For whoever writes into the folder while it is locked. Throws Error if it was moved or removed since, so that
  /// nothing gets into a run that has taken its name.
  void require_in_place() const;

  /// Appends one line to metrics.jsonl. First removes the incomplete line of a process that was killed; if the new line
  /// cannot be written completely, none of it stays. Throws Error.
  void append(const Value& record) const;

  /// Returns once the lines, and the names of grids and other files, are on disk. Throws Error.
  void sync() const;

 private:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::shared_ptr<const int> locked(const std::filesystem::path& folder) const;

  std::filesystem::path path_;
  std::shared_ptr<const int> lock_;  ///< file descriptor
  std::shared_ptr<ReplacedRun> replaced_;
  std::vector<std::filesystem::path> made_;  ///< parent folders that `create` made, outermost first
};

}  // namespace casdm
