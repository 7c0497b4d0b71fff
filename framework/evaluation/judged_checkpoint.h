#pragma once

#include <filesystem>
#include <string>

#include "casdm/value.h"

namespace casdm {

/// In the record of an evaluation: the key, at `run.checkpoint`, of the SHA-256 of its state.json.
constexpr const char* kStateDigest = "state_sha256";

/// The SHA-256 of the checkpoint's state.json; empty: it is not there, or cannot be read.
std::string state_sha256(const std::filesystem::path& checkpoint);

/// Whether the run's checkpoint after as many images is the one that was judged. It is not if training went back, or
/// started anew, and came to that number again. A record that does not say, and one whose checkpoint was removed, is
/// believed.
bool is_of_its_checkpoint(const Value& record, const std::filesystem::path& run);

}  // namespace casdm
