#pragma once

#include <filesystem>
#include <string>

#include "casdm/value.h"

namespace casdm {

/// The folder of one run:
///
///     config.toml      the resolved experiment
///     metrics.jsonl    one JSON object a line, appended only
///     samples/         grids drawn while training
///     checkpoints/     one folder each, see checkpoint.h
///     ema/             snapshots of averages, see ema_snapshots.h
class RunFolder {
 public:
  /// A new folder. Throws ConfigError when it exists: a run is never overwritten.
  static RunFolder create(const std::filesystem::path& path, const Value& resolved);

  /// An existing one. Throws ConfigError when it is no run folder.
  static RunFolder open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path config() const { return path_ / "config.toml"; }
  std::filesystem::path samples() const { return path_ / "samples"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }

  std::filesystem::path ema() const { return path_ / "ema"; }

  /// Removes the folder of a run that failed before it recorded or saved anything, so that its name is free again.
  void remove_if_unused() const;

  /// Held while a process trains in the folder. Throws Error when another one does.
  void lock();

  /// Appends one line to metrics.jsonl. Throws Error when it cannot be written in full.
  void append(const Value& record) const;

  /// Returns when all lines are on the disk. Throws Error.
  void sync_log() const;

 private:
  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace casdm
