#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "casdm/value.h"

namespace casdm {

/// The folder of one run:
///
///     config.toml      the resolved experiment
///     init.json        the weights that [[init]] gave, see initial_weights.h
///     metrics.jsonl    one JSON object a line
///     samples/         grids drawn while training, <images>.png
///     checkpoints/     one folder each, see checkpoint.h
///     ema/             snapshots of averages, see ema_snapshots.h
///     evaluation/      records of `casdm evaluate`, see evaluation_file.h
///     set-aside-<n>/   what was left when the training went back, see rewind.h
///     .lock            held while a process trains, and who it is
class RunFolder {
 public:
  /// A new folder, locked. It is made under a temporary name and renamed: of two processes one makes it. An empty
  /// folder, or one whose checkpoints/ and samples/ are empty, is taken over. Throws ConfigError when there is anything
  /// else under the name: nothing is ever overwritten.
  static RunFolder create(const std::filesystem::path& path, const Value& resolved);

  /// An existing one. Throws ConfigError when it is not a run folder.
  static RunFolder open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.toml"; }
  std::filesystem::path init() const { return path_ / "init.json"; }
  std::filesystem::path log() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path samples() const { return path_ / "samples"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path ema() const { return path_ / "ema"; }

  /// Removes the folder that `create` made, and the folders above that it made, when nothing was recorded, saved or
  /// added since, so that its name is free again.
  void remove_if_unused() const;

  /// Held while this object or a copy of it lives. Removes what processes that ended left half-written. Throws Error
  /// that says who holds it (process, machine, since when) when another process trains in the folder.
  void lock();

  /// Appends one line to metrics.jsonl. What a process that was killed has left of a line is removed before, and of a
  /// line that cannot be written in full nothing stays. Throws Error.
  void append(const Value& record) const;

  /// Returns when the lines, and the names of grids and other files, are on the disk. Throws Error.
  void sync() const;

 private:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::shared_ptr<const int> locked(const std::filesystem::path& folder) const;

  std::filesystem::path path_;
  std::shared_ptr<const int> lock_;          ///< descriptor
  std::vector<std::filesystem::path> made_;  ///< folders above that `create` made, outermost first
};

}  // namespace casdm
