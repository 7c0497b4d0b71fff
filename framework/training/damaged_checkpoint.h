#pragma once

#include <filesystem>
#include <string>

namespace casdm {

/// Throws Error that says that the checkpoint in `folder` is damaged, `why`, and which other checkpoints its run has.
[[noreturn]] void fail_damaged(const std::filesystem::path& folder, const std::string& why);

}  // namespace casdm
