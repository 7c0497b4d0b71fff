#pragma once

#include <filesystem>
#include <string>

namespace casdm {

/// Throws Error: the checkpoint in `folder` is damaged, `why`, and which others its run has.
[[noreturn]] void fail_damaged(const std::filesystem::path& folder, const std::string& why);

}  // namespace casdm
