#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>

#include "casdm/value.h"

namespace casdm {

/// In the record of an evaluation: the key, at `run.checkpoint`, of its digest.
constexpr const char* kFilesDigest = "files_sha256";

/// The digest of a checkpoint: the SHA-256 of `files` of its state.json, as JSON on one line, with the SHA-256 of all
/// tensors. The same steps give the same digest. Empty: it is not there, or damaged.
std::string files_sha256(const std::filesystem::path& checkpoint);

/// The checkpoints of a run, each looked at once.
class JudgedCheckpoints {
 public:
  explicit JudgedCheckpoints(std::filesystem::path run) : run_(std::move(run)) {}

  /// Whether the run's checkpoint after as many images is the one that was judged. It is not if training went back, or
  /// started anew, and came to that number again, or if it is a copy from another branch. A record that does not say is
  /// believed, and so is one whose checkpoint was removed.
  bool have_judged(const Value& record);

 private:
  /// Whether the run's log is the past of checkpoints/`name`, if that is still there.
  bool is_of_run(const std::filesystem::path& name) const;

  std::filesystem::path run_;
  std::map<std::int64_t, std::string> digests_;
};

}  // namespace casdm
