#pragma once

#include <filesystem>

#include "framework/training/run_folder.h"

namespace casdm {

/// The target of the symbolic link checkpoints/best; empty: there is none.
std::filesystem::path best_checkpoint(const RunFolder& run);

/// Throws Error if anything else is in the link's place.
void require_place_for_best(const RunFolder& run);

/// Makes checkpoints/best point to `checkpoint`, which must belong to the run; `Checkpoint::remove_old` then keeps it.
/// The link is replaced atomically. Throws Error if the file system has no symbolic links, or if something else has
/// that name.
void keep_as_best(const RunFolder& run, const std::filesystem::path& checkpoint);

/// Removes the link.
void forget_best(const RunFolder& run);

}  // namespace casdm
