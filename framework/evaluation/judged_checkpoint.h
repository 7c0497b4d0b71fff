#pragma once

#include <filesystem>
#include <string>

#include "casdm/value.h"

namespace casdm {

/// In the record of an evaluation: the key, at `run.checkpoint`, of its digest.
constexpr const char* kFilesDigest = "files_sha256";

/// The digest of a checkpoint: the SHA-256 of `files` of its state.json, as JSON on one line, with the SHA-256 of all
/// tensors. The same steps give the same digest. Empty: it is not there, or damaged.
std::string files_sha256(const std::filesystem::path& checkpoint);

/// Whether the run's checkpoint after as many images is the one that was judged. It is not if training went back, or
/// started anew, and came to that number again. A record that does not say, and one whose checkpoint was removed, is
/// believed.
bool is_of_its_checkpoint(const Value& record, const std::filesystem::path& run);

}  // namespace casdm
