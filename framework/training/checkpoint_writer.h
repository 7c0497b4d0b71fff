#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <string>
#include <vector>

#include "framework/training/checkpoint.h"
#include "framework/training/ema_snapshots.h"
#include "framework/training/run_folder.h"

namespace casdm {

/// Writes the checkpoints of a run, each followed by the removal of old ones, and its snapshots of averages: at once,
/// or one after the other in threads of their own while the training goes on. For one thread.
class CheckpointWriter {
 public:
  /// What has been written.
  struct Written {
    std::int64_t images = 0;
    std::filesystem::path path;         ///< of the checkpoint; empty: only snapshots
    std::vector<std::string> warnings;  ///< old checkpoints that could not be removed
  };

  /// Keeps a reference to `run`.
  CheckpointWriter(const RunFolder& run, std::int64_t keep_last) : run_(run), keep_last_(keep_last) {}

  /// Throws what Checkpoint::save throws. Not while something else is being written.
  Written write(const CheckpointContent& content) const;

  /// Begins to write in a thread of its own, which gets no signals, once what has been begun before is on disk; if that
  /// fails, nothing is written. Nobody may change the tensors meanwhile; see `copy_to_host`.
  void begin(CheckpointContent content);
  void begin(std::vector<SnapshotContent> snapshots);

  /// Whether something has been begun, and `finish` has not been called for it.
  bool is_begun() const { return writing_.valid(); }

  /// Whether `finish` would return at once with what has been begun.
  bool is_done() const;

  /// Waits until everything that has been begun is on disk. Throws like `write`, or what writing a snapshot throws.
  Written finish() { return writing_.get(); }

 private:
  void begin_after(std::function<void(Written&)> write);

  const RunFolder& run_;
  std::int64_t keep_last_;
  std::future<Written> writing_;  ///< waits in its destructor
};

/// Whether checkpoints of a training on `device` are written in the background, if there is memory for copies.
bool writes_in_background(BackgroundMode mode, c10::Device device);

/// Lists of tensors that are written together.
std::vector<NamedTensors*> tensors_of(CheckpointContent& content);
std::vector<NamedTensors*> tensors_of(std::vector<SnapshotContent>& snapshots);

/// The bytes of the tensors.
std::uint64_t bytes_of(const std::vector<NamedTensors*>& lists);

/// Replaces the tensors by copies of their own in the host's memory.
void copy_to_host(const std::vector<NamedTensors*>& lists);

}  // namespace casdm
