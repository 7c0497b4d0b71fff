#pragma once

#include <cstdint>
#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include "framework/training/checkpoint.h"
#include "framework/training/run_folder.h"

namespace casdm {

/// Writes the checkpoints of a run, and then removes old ones: at once, or in a thread of its own while the training
/// goes on. For one thread.
class CheckpointWriter {
 public:
  /// What has been written.
  struct Written {
    std::int64_t images = 0;
    std::filesystem::path path;
    std::vector<std::string> warnings;  ///< old checkpoints that could not be removed
  };

  /// Keeps a reference to `run`.
  CheckpointWriter(const RunFolder& run, std::int64_t keep_last) : run_(run), keep_last_(keep_last) {}

  /// Throws what Checkpoint::save throws. Not while another one is being written.
  Written write(const CheckpointContent& content) const;

  /// Begins to write in a thread of its own, which gets no signals. Nobody may change the tensors of `content`
  /// meanwhile; see `copy_to_host`. Not while another one is being written.
  void begin(CheckpointContent content);

  /// Whether a checkpoint has been begun, and `finish` has not been called for it.
  bool is_begun() const { return writing_.valid(); }

  /// Whether `finish` would return at once with what has been begun.
  bool is_done() const;

  /// Waits until the checkpoint that has been begun is on disk. Throws like `write`.
  Written finish() { return writing_.get(); }

 private:
  const RunFolder& run_;
  std::int64_t keep_last_;
  std::future<Written> writing_;  ///< waits in its destructor
};

/// The bytes of the content's tensors.
std::uint64_t bytes_of(const CheckpointContent& content);

/// Replaces the content's tensors by copies of their own in the host's memory.
void copy_to_host(CheckpointContent& content);

}  // namespace casdm
