#pragma once

#include <filesystem>

#include "framework/training/run_folder.h"

namespace casdm {

/// The checkpoint that checkpoints/best, a symbolic link, leads to; empty: there is none.
std::filesystem::path best_checkpoint(const RunFolder& run);

/// Makes checkpoints/best lead to `checkpoint`, one of the run, which `Checkpoint::remove_old` then keeps. The link is
/// replaced at once. Throws Error where the file system has no symbolic links, and when something else has the name.
void keep_as_best(const RunFolder& run, const std::filesystem::path& checkpoint);

/// Removes the link.
void forget_best(const RunFolder& run);

}  // namespace casdm
